// The page of runs: those at work, every second as they are then.

import { poll } from "./poll.js";

const section = document.getElementById("running");

// What is said of a run at work, in the entry that it has.
function tell(item, run) {
  const best = run.best_metric !== null && `${run.best_architecture}: ${run.metric_name} ${run.best_metric.toFixed(5)}`;
  const time = `${run.elapsed_words}${run.budget_words && ` of ${run.budget_words}`}`;
  const parts = [run.source, run.stopping ? "stopping" : run.phase, time, best, `by ${run.role}`];
  item.querySelector("div").textContent = parts.filter(Boolean).join(" · ");
  item.querySelector("progress").value = run.percent ?? 0;
}

function entry(run) {
  const item = document.createElement("li");
  // Some functions work and record no run.
  const link = document.createElement(run.run_id === null ? "span" : "a");
  if (run.run_id !== null) link.href = `/runs/${run.run_id}`;
  link.textContent = run.run_id === null ? run.function : `Run ${run.run_id}`;
  const bar = document.createElement("progress");
  bar.max = 100;
  bar.setAttribute("aria-label", "share of the budget that is used");
  item.append(link, document.createElement("div"), bar);
  return item;
}

if (section) {
  const list = section.querySelector("ul");
  const fault = document.getElementById("running-fault");
  let held = null;
  poll(() => `/live?mark=${encodeURIComponent(section.dataset.mark)}`, (told) => {
    section.hidden = !told.running.length && !told.fault;
    document.getElementById("newer").hidden = !told.newer;
    // Entries stay where runs do, so that whoever is on a link keeps it.
    const runs = JSON.stringify(told.running.map((run) => [run.run_id, run.started]));
    if (runs !== held) list.replaceChildren(...told.running.map(entry));
    held = runs;
    told.running.forEach((run, place) => tell(list.children[place], run));
    return 1000;
  }, (text) => {
    fault.hidden = !text;
    fault.textContent = text ?? "";
  });
}
