// The page of a run that waits for its turn in the background: once it has begun or ended, another page takes its place.

import { poll } from "./poll.js";

const page = document.getElementById("waiting");
const fault = document.getElementById("fault");

poll(() => `/runs/${page.dataset.run}/live?after=0`, (told) => {
  // A worker that has begun is seen a moment later.
  if (["queued", "gone", "unknown"].includes(told.state)) return 1000;
  location.reload();
  return null;
}, (text) => {
  fault.hidden = !text;
  fault.textContent = text ?? "";
});
