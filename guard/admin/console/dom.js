// Elements by hand: what a server sent becomes text, never markup.

/** Makes an element: `h("p", {class: "quiet", onclick: f}, "text", other, …)`. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same in SVG. */
export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const $ = (id) => document.getElementById(id);

/** A table in a box that scrolls; `columns` are [title, whether it is text]. */
export function table(caption, columns, rows) {
  const head = columns.map(([title, text]) => h("th", { scope: "col", class: text ? "text" : null }, title));
  const body = rows.map((row) =>
    h("tr", {}, row.map((cell, place) => h("td", { class: columns[place][1] ? "text" : null }, cell ?? "–"))),
  );
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

/** Puts new content in an element, only where it says something else than before. */
export function show(element, data, make) {
  const text = JSON.stringify(data);
  if (element.dataset.shown === text) return;
  const key = document.activeElement?.dataset?.key;
  const inside = element.contains(document.activeElement);
  element.replaceChildren(...[make(data)].flat());
  element.dataset.shown = text;
  if (inside && key) [...element.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus();
}

export const badge = (text, kind = text) => h("span", { class: `badge ${kind}` }, text);
export const number = (value) => (value ?? null) === null ? "–" : value.toLocaleString("en");
export const percent = (share) => (share ?? null) === null ? "–" : `${(100 * share).toFixed(share > 0 && share < 0.01 ? 2 : 1)} %`;
export const short = (value) => (value ?? null) === null ? "–" : Math.abs(value) < 1e-9 ? "0" : Number(value.toPrecision(4)).toString();

/** Microseconds, as a person reads them. */
export function duration(micros) {
  if ((micros ?? null) === null) return "–";
  return micros < 1000 ? `${Math.round(micros)} µs` : `${(micros / 1000).toFixed(micros < 10000 ? 2 : 1)} ms`;
}

/** The hour, and the day where it is not today. */
export function when(iso) {
  const at = new Date(iso);
  const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleDateString()} `;
  return `${day}${at.toLocaleTimeString()}`;
}

/** Asks before something is done; true where the answer is yes. */
export function confirm(title, text, yes) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  const dialog = $("confirm");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}
