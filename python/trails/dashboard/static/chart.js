// Lines over a common axis, as SVG. What is pointed at, or reached with the arrow keys, is told in words below.

const NS = "http://www.w3.org/2000/svg";
const LEFT = 56, RIGHT = 14, TOP = 22, BOTTOM = 40;

function element(name, attributes = {}, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Round numbers that divide a range into some parts, at least 1 apart where only whole numbers count.
function ticks(low, high, parts, whole) {
  const rough = (high - low) / parts || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let place = Math.ceil(low / step); place * step <= high + step * 1e-9; place++) found.push(place * step);
  return found.map((value) => Number(value.toPrecision(12)));
}

export class Chart {
  // figure: data-x and data-y name the axes, and data-x-whole says that only whole numbers are on the first one.
  constructor(figure) {
    this.figure = figure;
    this.svg = element("svg", { role: "img" });
    this.told = document.createElement("output");
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    figure.append(this.svg, this.told, this.legend);
    figure.tabIndex = 0;
    this.shown = { lines: [], marks: [], whole: false };
    this.chosen = null;
    new ResizeObserver(() => this.render()).observe(figure);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.choose(null));
    figure.addEventListener("keydown", (event) => this.key(event));
  }

  // shown: lines, each with name, kind (a class of the style sheet), points ([x, y], by x) and tell(point), a text;
  // later ones lie on top. marks: x and text. legend: kind and text. whole: see above. range: of x, if it is fixed.
  // less: whether small values are the good ones.
  draw(shown) {
    this.shown = { marks: [], legend: [], whole: false, less: false, ...shown };
    if (this.chosen && !this.shown.lines.some((line) => line.name === this.chosen.name)) this.chosen = null;
    this.render();
    this.legend.replaceChildren(...this.shown.legend.map(({ kind, text }) => {
      const entry = document.createElement("li");
      entry.className = `line ${kind}`;
      entry.textContent = text;
      return entry;
    }));
  }

  // Values that are far worse than all others would press the rest together: they lie beyond the axis.
  limits(values) {
    if (this.shown.less) return this.above(values.map((value) => -value)).map((value) => -value).reverse();
    return this.above(values);
  }

  // Limits that leave out what is far below the rest.
  above(values) {
    const sorted = values.slice().sort((a, b) => a - b);
    const high = sorted[sorted.length - 1], few = sorted[Math.floor(sorted.length * 0.04)];
    const low = few - sorted[0] > 2 * (high - few) && high > few ? few : sorted[0];
    const margin = 0.06 * (high - low) || 0.01;
    return [low - margin, high + margin];
  }

  render() {
    const width = this.figure.clientWidth, height = Math.max(240, Math.min(380, width * 0.55));
    const { lines, marks, whole, range } = this.shown;
    const points = lines.flatMap((line) => line.points);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    const { x: nameX, y: nameY } = this.figure.dataset;
    this.svg.setAttribute("aria-label", `${nameY} by ${nameX}: ${lines.length} lines. Arrow keys go along them.`);
    const parts = [];
    if (points.length && width > LEFT + RIGHT) {
      let last = 1;
      for (const [x] of points) last = Math.max(last, x);
      const [from, to] = range ?? [0.5, last + 0.5];
      const [low, high] = this.limits(points.map((point) => point[1]));
      const x = (value) => LEFT + (width - LEFT - RIGHT) * (value - from) / (to - from);
      const y = (value) => TOP + (height - TOP - BOTTOM) * (high - Math.min(high, Math.max(low, value))) / (high - low);
      this.place = ([a, b]) => [x(a), y(b)];
      for (const value of ticks(low, high, 5, false)) {
        parts.push(element("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
        parts.push(element("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value));
      }
      for (const value of ticks(from, to, width / 90, whole)) {
        parts.push(element("text", { x: x(value), y: height - BOTTOM + 18, "text-anchor": "middle" }, value));
      }
      for (const { x: at, text } of marks) {
        parts.push(element("line", { class: "mark", x1: x(at), x2: x(at), y1: TOP, y2: height - BOTTOM }));
        const turned = `rotate(-90 ${x(at) - 4} ${height - BOTTOM - 6})`;
        parts.push(element("text", { x: x(at) - 4, y: height - BOTTOM - 6, transform: turned }, text));
      }
      for (const line of lines) parts.push(this.line(line));
      parts.push(element("text", { x: LEFT, y: 12 }, nameY));
      parts.push(element("text", { x: (LEFT + width - RIGHT) / 2, y: height - 4, "text-anchor": "middle" }, nameX));
    }
    this.ring = element("circle", { class: "chosen-point", r: 5, visibility: "hidden" });
    this.svg.replaceChildren(...parts, this.ring);
    this.choose(this.chosen);
  }

  line(line) {
    const group = element("g", { class: `line ${line.kind}`, "data-name": line.name });
    const places = line.points.map(this.place);
    group.append(element("polyline", { points: places.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ") }));
    // Dots of many points would hide the line.
    if (places.length <= 40) {
      for (const [x, y] of places) group.append(element("circle", { cx: x, cy: y, r: 2.4 }));
    }
    return group;
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    let best = null, nearest = 40 ** 2;
    for (const line of this.place ? this.shown.lines : []) {
      line.points.forEach((point, place) => {
        const [x, y] = this.place(point);
        const far = (x - (event.clientX - box.left)) ** 2 + (y - (event.clientY - box.top)) ** 2;
        if (far <= nearest) [nearest, best] = [far, { name: line.name, place }];
      });
    }
    this.choose(best);
  }

  key(event) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
    const { lines } = this.shown;
    if (event.key === "Escape") this.choose(null);
    if (!steps || !lines.length) return;
    event.preventDefault();
    this.told.setAttribute("aria-live", "polite");
    if (!this.chosen) {
      const top = lines[lines.length - 1];
      this.choose({ name: top.name, place: top.points.length - 1 });
      return;
    }
    const now = lines.findIndex((line) => line.name === this.chosen.name);
    const line = lines[Math.max(0, Math.min(lines.length - 1, now + steps[0]))];
    this.choose({ name: line.name, place: Math.max(0, Math.min(line.points.length - 1, this.chosen.place + steps[1])) });
  }

  choose(chosen) {
    this.chosen = chosen;
    for (const group of this.svg.querySelectorAll("g.line")) {
      group.classList.toggle("chosen", chosen !== null && group.dataset.name === chosen.name);
    }
    const line = chosen && this.shown.lines.find((one) => one.name === chosen.name);
    const point = line && line.points[chosen.place];
    this.ring.setAttribute("visibility", point ? "visible" : "hidden");
    this.told.textContent = point ? line.tell(point) : "";
    if (point) {
      const [x, y] = this.place(point);
      this.ring.setAttribute("cx", x);
      this.ring.setAttribute("cy", y);
    }
  }
}
