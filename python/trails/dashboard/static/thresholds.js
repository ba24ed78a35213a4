// The page of a model that was evaluated: what each threshold comes to.

import { Chart } from "./chart.js";

const { lines, threshold: used } = JSON.parse(document.getElementById("thresholds-data").textContent);
const shown = lines.filter((line) => line.points.length);
new Chart(document.getElementById("thresholds")).draw({
  range: [0, 1],
  lines: shown.map(({ name, points }) => ({
    name,
    kind: `measure ${name}`,
    points,
    tell: ([threshold, value]) => `${name} ${value.toFixed(4)} at threshold ${threshold.toFixed(4)}`,
  })),
  marks: used === null ? [] : [{ x: used, text: `threshold ${used}` }],
  legend: shown.map(({ name }) => ({ kind: name, text: name })),
});
