// The page of a run at work: what happens is added to what is there, until the run is recorded or has failed.

import { Curves } from "./curves.js";
import { poll } from "./poll.js";

const live = document.getElementById("live");
const figure = document.getElementById("curves");
const curves = new Curves(figure);
const state = document.getElementById("state");
const fault = document.getElementById("fault");
const SHOWN = 20;
let after = 0, gone = 0;

function cell(text, kind) {
  const made = document.createElement("td");
  made.textContent = text;
  made.className = kind;
  return made;
}

function board() {
  const rows = curves.ranked().slice(0, SHOWN).map((one, place) => {
    const row = document.createElement("tr");
    if (place === 0) row.className = "first";
    row.append(
      cell(place + 1, "n"), cell(one.name, "name"), cell(one.best.toFixed(5), "n"), cell(one.rung, "n"), cell(one.epochs, "n"),
    );
    return row;
  });
  document.querySelector("#board tbody").replaceChildren(...rows);
}

function progress(told) {
  document.getElementById("percent").value = told.percent ?? 0;
  const parts = [
    told.phase,
    `${told.elapsed_words}${told.budget_words && ` of ${told.budget_words}`}`,
    told.remaining_words && `at most ${told.remaining_words} left`,
    told.scored !== null && `${told.scored.toLocaleString("en")} scored`,
    told.candidates !== null && `${told.candidates.toLocaleString("en")} candidates`,
    told.k !== null && `K = ${told.k}`,
    told.u !== null && `U = ${told.u}`,
    told.rung !== null && `rung ${told.rung}`,
    told.epochs !== null && `${told.epochs.toLocaleString("en")} epochs`,
  ];
  document.getElementById("time").textContent = parts.filter(Boolean).join(" · ");
  state.textContent = told.stopping ? "stopping" : "at work";
  if (told.metric === null) return;
  // It is known once rows are encoded, and nothing is trained before that.
  figure.dataset.y = `validation ${told.metric_name}`;
  document.getElementById("metric").textContent = told.metric_name;
  curves.metric = figure.dataset.y;
  curves.lessIsBetter = told.less_is_better;
}

function take(told) {
  if (told.progress) progress(told.progress);
  if (told.points.length) {
    curves.add(told);
    curves.draw();
    board();
  }
  after = told.after;
  if (told.state === "recorded") {
    location.reload();
    return null;
  }
  if (told.state === "failed" || told.state === "cancelled") {
    state.textContent = told.state;
    document.getElementById("time").textContent = told.message || "It has ended, and nothing of it is kept.";
    return null;
  }
  // What cannot be asked just now has not ended for that.
  if (told.state !== "unknown") gone = told.state === "gone" ? gone + 1 : 0;
  if (gone) state.textContent = "ended";
  if (gone > 10) {
    document.getElementById("time").textContent = "It has ended, and no record of it can be seen: it was cancelled or failed, or its transaction goes on.";
  }
  return told.more ? 0 : gone > 10 ? 5000 : 1000;
}

poll(() => `/runs/${live.dataset.run}/live?after=${after}`, take, (text) => {
  fault.hidden = !text;
  fault.textContent = text ?? "";
});
