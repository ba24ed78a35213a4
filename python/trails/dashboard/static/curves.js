// Learning curves of a run: what is known of each candidate, and how it is drawn. A curve grows as epochs come.

import { Chart } from "./chart.js";

// As the colours of figures have it; see colours.css.
const RUNGS = 6;
// Lines of a run at work: the best ones. More cannot be told apart.
const DRAWN = 60;

export class Curves {
  constructor(figure) {
    this.chart = new Chart(figure);
    this.metric = figure.dataset.y;
    this.candidates = new Map();
    this.winner = null;
    this.sign = 1;
  }

  // Of a metric that is a loss the smallest value is the best one.
  set lessIsBetter(less) {
    if (this.sign === (less ? -1 : 1)) return;
    this.sign = -this.sign;
    for (const one of this.candidates.values()) {
      one.best = null;
      for (const [, value] of one.points) this.keepBest(one, value);
    }
  }

  keepBest(one, value) {
    if (one.best === null || this.sign * value > this.sign * one.best) one.best = value;
  }

  // told: names, and points of [which name, rung, epoch, metric].
  add({ names, points }) {
    for (const [place, rung, epoch, value] of points) {
      const name = names[place];
      let one = this.candidates.get(name);
      if (!one) this.candidates.set(name, (one = { name, rung: 0, best: null, epochs: 0, points: [], rungs: [] }));
      one.rung = Math.max(one.rung, rung);
      one.epochs = Math.max(one.epochs, epoch);
      if (value === null) continue;
      this.keepBest(one, value);
      // Epochs of one candidate come in order, but for what is sent again after a fault.
      const at = one.points.findLastIndex((point) => point[0] <= epoch);
      if (at >= 0 && one.points[at][0] === epoch) {
        one.points[at][1] = value;
      } else {
        one.points.splice(at + 1, 0, [epoch, value]);
        one.rungs.splice(at + 1, 0, rung);
      }
    }
  }

  // Candidates, the best first.
  ranked() {
    return [...this.candidates.values()].filter((one) => one.points.length).sort((a, b) => this.sign * (b.best - a.best));
  }

  draw() {
    const ranked = this.ranked().slice(0, DRAWN);
    if (!ranked.length) return;
    const winner = ranked.find((one) => one.name === this.winner) ?? ranked[0];
    const last = Math.max(...ranked.map((one) => one.rung));
    const ends = new Map();
    for (const one of ranked) {
      one.points.forEach(([epoch], place) => {
        const rung = one.rungs[place];
        // The winner goes on alone after the last rung.
        if (one !== winner || rung < last) ends.set(rung, Math.max(ends.get(rung) ?? 0, epoch));
      });
    }
    const longest = Math.max(...ranked.map((one) => one.epochs));
    const kind = (one) => (one === winner ? "winner" : `rung-${Math.min(one.rung, RUNGS - 1)}`);
    const others = ranked.filter((one) => one !== winner).sort((a, b) => a.rung - b.rung || this.sign * (a.best - b.best));
    const rungs = [...new Set(others.map((one) => one.rung))];
    this.chart.draw({
      whole: true,
      less: this.sign < 0,
      lines: [...others, winner].map((one) => ({
        name: one.name,
        kind: kind(one),
        points: one.points,
        tell: ([epoch, value]) => `${one.name} · epoch ${epoch} · ${this.metric} ${value.toFixed(5)}`,
      })),
      marks: [...ends].filter(([, end]) => end < longest).map(([rung, end]) => ({ x: end + 0.5, text: `rung ${rung} ends` })),
      legend: [
        { kind: "winner", text: winner.name === this.winner ? `${winner.name} (winner)` : `${winner.name} (best so far)` },
        ...rungs.map((rung) => ({ kind: `rung-${Math.min(rung, RUNGS - 1)}`, text: `as far as rung ${rung}` })),
      ],
    });
  }
}
