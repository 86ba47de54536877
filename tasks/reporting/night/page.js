const read = (id) => JSON.parse(document.getElementById(id).textContent);
const specs = read("specs"), trials = read("data");
const AXIS = 56; // pixels of a column beside its panels

async function draw(place) {
  const spec = structuredClone(specs[place.dataset.spec]);
  if (spec.vconcat) for (const panel of spec.vconcat) panel.width = Math.max(70, place.clientWidth - AXIS);
  else spec.datasets = { trials };
  const options = { mode: "vega-lite", actions: false, renderer: "svg", tooltip: { theme: "custom" } };
  await vegaEmbed(place, spec, options);
  place.querySelector("svg").setAttribute("aria-hidden", "true");
}

const places = [...document.querySelectorAll("[data-spec]")];
const folded = (place) => place.closest("details:not([open])");
for (const place of places) if (!folded(place)) await draw(place);
for (const details of document.querySelectorAll("main details")) details.addEventListener("toggle", async () => {
  for (const place of details.querySelectorAll("[data-spec]")) if (details.open && !place.firstChild) await draw(place);
});

let width = innerWidth, waiting;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(() => places.filter((place) => place.classList.contains("fixed")).forEach(draw), 200);
});

for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", async () => {
  const code = button.parentElement.querySelector("code"), label = button.firstChild;
  const text = [...code.childNodes].filter((node) => node.nodeName !== "DEL").map((node) => node.textContent).join("");
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    label.textContent = "Press Ctrl-C";
  }
  setTimeout(() => { label.textContent = "Copy"; }, 1600);
});

const table = document.getElementById("table");
if (table) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
  const compare = (x, y) => (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const isDown = head.getAttribute("aria-sort") === "ascending";
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
    const order = (a, b) => {
      const [x, y] = [key(a, column), key(b, column)];
      if (x === "" || y === "") return (x === "") - (y === ""); // nothing stands last, either way
      return isDown ? -compare(x, y) : compare(x, y);
    };
    body.append(...[...body.rows].sort(order));
  }));
  document.getElementById("filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of body.rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    const count = [...body.rows].filter((row) => !row.hidden).length;
    document.getElementById("shown").textContent = words.length ? `${count} of ${body.rows.length}` : "";
  });
}
document.documentElement.dataset.ready = "true";
