// The page of a recorded run: its curves, out of what came with the page.

import { Curves } from "./curves.js";

const data = document.getElementById("curves-data");
if (data) {
  const told = JSON.parse(data.textContent);
  const curves = new Curves(document.getElementById("curves"));
  curves.winner = told.winner;
  curves.lessIsBetter = told.less_is_better;
  curves.add(told);
  curves.draw();
}
