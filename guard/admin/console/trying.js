// Prompts tried against the bundle, and one question put to both models.

import { api } from "./api.js";
import { $, badge, h } from "./dom.js";
import { act } from "./main.js";

async function check(event) {
  event.preventDefault();
  const texts = $("texts").value.split("\n").filter((line) => line.trim());
  const found = await act("Deciding", () => api("check", { method: "POST", body: { texts } }), event.target, false);
  if (!found) return;
  $("checked").replaceChildren(h("ul", { class: "verdicts" }, found.decisions.map((one, place) => {
    const why = one.targets.map((t) => `${t.id} by ${t.detector}: ${t.score.toFixed(3)} ≥ ${t.threshold.toFixed(3)}`).join("; ");
    const kind = one.action === "allow" ? (one.flagged ? "shadow" : "") : "enforce";
    return h("li", {}, badge(one.flagged && one.action === "allow" ? "shadow" : one.action, kind), h("span", {}, texts[place]), h("span", { class: "quiet" }, why));
  })));
}

async function ask(event) {
  event.preventDefault();
  const body = { prompt: $("prompt").value };
  const found = await act("Asking both", () => api("ask", { method: "POST", body }), event.target, false);
  if (!found) return;
  $("asked").replaceChildren(...["guarded", "unguarded"].map((name) => {
    const one = found[name];
    return h("article", { class: "panel", id: `asked-${name}` }, h("h3", {}, name[0].toUpperCase() + name.slice(1)),
      one.error ? h("p", { class: "wrong" }, `It ${one.error}.`) : h("p", { class: "said" }, one.text || "(nothing)"),
      h("p", { class: "quiet" }, [one.model, one.finish_reason, `${one.seconds.toFixed(1)} s`].filter(Boolean).join(", ")));
  }));
}

export function startTrying() {
  $("check").addEventListener("submit", check);
  $("ask").addEventListener("submit", ask);
}
