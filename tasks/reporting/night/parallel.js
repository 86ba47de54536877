
const held = document.getElementById("parallel-data");
if (held) {
  const { axes, lines } = JSON.parse(held.textContent);
  const place = document.getElementById("parallel"), said = document.getElementById("marked");
  const HEIGHT = 260, OFF = 34, TOP = 56, LEFT = 72, RIGHT = 84;
  const brushes = axes.map(() => null);
  const sample = document.createElement("template");
  sample.innerHTML = "<svg></svg>"; // the only way to its namespace without an address in the page
  const namespace = sample.content.firstChild.namespaceURI;
  const shape = (name, attributes, parent, text) => {
    const element = document.createElementNS(namespace, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return parent.appendChild(element);
  };
  const down = (u) => TOP + (u === null ? HEIGHT + OFF : (1 - u) * HEIGHT);
  const paths = lines.map(() => null), boxes = axes.map(() => null);

  let group;

  const drawLines = () => {
    place.replaceChildren();
    const room = Math.max(place.clientWidth, LEFT + RIGHT + 72 * (axes.length - 1)), step = (room - LEFT - RIGHT) / Math.max(1, axes.length - 1);
    const svg = shape("svg", { width: room, height: TOP + HEIGHT + OFF + 14, "aria-hidden": "true" }, place);
    const at = (i) => LEFT + i * step;
    group = shape("g", lines.length > 200 ? { class: "many" } : {}, svg);
    for (const n of lines.keys()) {
      const points = lines[n].u.map((u, i) => [at(i), down(u)]);
      const bend = points.map(([x, y], i) => {
        if (!i) return `M${x},${y}`;
        const middle = (points[i - 1][0] + x) / 2;
        return `C${middle},${points[i - 1][1]} ${middle},${y} ${x},${y}`;
      });
      paths[n] = shape("path", { d: bend.join(""), class: `line ${lines[n].kind}` }, group);
    }
    axes.forEach((axis, i) => {
      shape("line", { x1: at(i), x2: at(i), y1: TOP, y2: TOP + HEIGHT, class: "axis" }, svg);
      const words = axis.name.split(/(?<=[._])/).reduce((rows, word) => {
        if (rows.length && (rows.at(-1) + word).length <= 12) rows[rows.length - 1] += word; else rows.push(word);
        return rows;
      }, []).slice(0, 3);
      words.forEach((word, row) => shape("text", { x: at(i), y: TOP - 14 - 14 * (words.length - 1 - row), class: "name" }, svg, word));
      for (const [u, label] of axis.ticks) shape("text", { x: at(i) + (i ? 7 : -7), y: down(u) + 4, class: i ? "tick" : "tick first" }, svg, label.length > 14 ? `${label.slice(0, 13)}…` : label);
      boxes[i] = shape("rect", { x: at(i) - 6, width: 12, y: 0, height: 0, class: "brush" }, svg);
      const hit = shape("rect", { x: at(i) - 16, width: 40, y: TOP - 6, height: HEIGHT + 12, class: "hit" }, svg);
      const y = (event) => Math.min(Math.max(event.clientY - svg.getBoundingClientRect().top - TOP, 0), HEIGHT);
      hit.addEventListener("pointerdown", (event) => {
        hit.setPointerCapture(event.pointerId);
        const from = y(event);
        const move = (moved) => { brushes[i] = [from, y(moved)]; mark(null); };
        hit.addEventListener("pointermove", move);
        hit.addEventListener("pointerup", () => {
          hit.removeEventListener("pointermove", move);
          if (brushes[i] && Math.abs(brushes[i][1] - brushes[i][0]) < 3) { brushes[i] = null; mark(null); }
        }, { once: true });
      });
      hit.addEventListener("dblclick", () => { brushes[i] = null; mark(null); });
    });
    if (lines.some((line) => line.u.includes(null))) shape("text", { x: LEFT - 10, y: TOP + HEIGHT + OFF + 4, class: "tick first" }, svg, "not used");
  };

  const isIn = (u, brush) => !brush || (u !== null && (1 - u) * HEIGHT >= Math.min(...brush) - 4 && (1 - u) * HEIGHT <= Math.max(...brush) + 4);
  const buttons = [...document.querySelectorAll("[data-mark]")];
  const mark = (button) => {
    for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
    let on = 0;
    lines.forEach((line, n) => {
      const isOn = line.u.every((u, i) => isIn(u, brushes[i]));
      on += isOn;
      paths[n].classList.toggle("on", isOn);
    });
    const height = (n) => 2 * paths[n].classList.contains("on") + 4 * (lines[n].kind === "winner");
    group.append(...[...lines.keys()].sort((a, b) => height(a) - height(b)).map((n) => paths[n]));
    brushes.forEach((brush, i) => {
      boxes[i].setAttribute("y", TOP + (brush ? Math.min(...brush) : 0));
      boxes[i].setAttribute("height", brush ? Math.abs(brush[1] - brush[0]) : 0);
    });
    said.textContent = `${on} of ${lines.length} trials marked`;
  };
  const scores = lines.map((line) => line.u[0]).sort((a, b) => b - a);
  const least = (many) => [0, (1 - scores[Math.min(many, scores.length) - 1]) * HEIGHT - 3.9];
  const marks = { quarter: () => least(Math.max(1, Math.round(lines.length / 4))), five: () => least(5), all: () => null };
  for (const button of buttons) button.addEventListener("click", () => {
    brushes.fill(null);
    brushes[0] = marks[button.dataset.mark]();
    mark(button);
  });
  drawLines();
  buttons[0].click();
  let last = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== last) { last = innerWidth; drawLines(); mark(buttons.find((each) => each.getAttribute("aria-pressed") === "true")); } });
}
