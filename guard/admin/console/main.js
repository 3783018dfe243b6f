// Signing in, and looking again and again while the page is looked at.

import { api, token } from "./api.js";
import { $ } from "./dom.js";
import { clearFeed, refreshFeed, startFeed } from "./feed.js";
import { showLeakage, startReports } from "./reports.js";
import { refreshScores } from "./scores.js";
import { refreshServers } from "./servers.js";
import { refreshTargets, startTargets } from "./targets.js";
import { startTrying } from "./trying.js";

const EVERY = 2000; // milliseconds
let timer = null;
let acting = false;

/** Does something that may fail, and says so; returns what came of it, or null. */
export async function act(what, work, form = null, changes = true) {
  const controls = form ? [...form.querySelectorAll("button")] : [];
  controls.forEach((one) => (one.disabled = true));
  acting = true;
  say("progress", `${what}…`);
  trouble("");
  try {
    return await work();
  } catch (error) {
    if (error.status === 401) signOut("That token is not known here any more.");
    else trouble(`${what}: ${error.message}`);
    return null;
  } finally {
    acting = false;
    controls.forEach((one) => (one.disabled = false));
    say("progress", "");
    if (changes) await refresh();
  }
}

function say(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

/** Says what is wrong; what an action said stays until the next one. */
function trouble(text, byPolling = false) {
  const box = $("trouble");
  if (byPolling && !text && box.dataset.polling !== "yes") return;
  box.dataset.polling = byPolling ? "yes" : "no";
  say("trouble", text);
}

async function refresh() {
  if (!token.get()) return;
  try {
    const status = await api("status");
    $("standing").textContent = `bundle ${status.version}, signed in as ${status.who}`;
    if (!acting) {
      const change = status.change;
      say("progress", change ? `${change.command} by ${change.who}: ${change.step || "under way"}` : "");
    } else if (status.change?.step) say("progress", `${status.change.step}…`);
    const [found, counts] = await Promise.all([refreshTargets(), api("counts")]);
    await Promise.all([refreshFeed(counts), refreshServers(counts), refreshScores(found.targets)]);
    trouble("", true);
  } catch (error) {
    if (error.status === 401) signOut("That token is not known here any more.");
    else trouble(error.message, true);
  }
}

async function loop() {
  clearTimeout(timer);
  if (!document.hidden) await refresh();
  if (token.get()) timer = setTimeout(loop, EVERY);
}

async function signIn() {
  const status = await api("status");
  $("sign-in").hidden = true;
  $("console").hidden = $("sign-out").hidden = false;
  $("ask").hidden = !status.features.ask;
  $("verify").disabled = !status.features.audit;
  await showLeakage(status.features.leakage).catch((error) => trouble(error.message));
  await loop();
}

function signOut(why = "") {
  token.clear();
  clearTimeout(timer);
  clearFeed();
  $("console").hidden = $("sign-out").hidden = true;
  for (const id of ["checked", "asked", "verdict", "calibrated", "leakage-report"]) $(id).replaceChildren();
  for (const form of document.forms) form.reset();
  $("sign-in").hidden = false;
  $("standing").textContent = "";
  trouble(why);
  $("token").focus();
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  trouble("");
  token.set($("token").value.trim());
  $("token").value = "";
  try {
    await signIn();
    $("main").focus();
  } catch (error) {
    signOut(error.status === 401 ? "That token is not known here." : error.message);
  }
});
$("sign-out").addEventListener("click", () => signOut());
$("score-target").addEventListener("change", refresh);
document.addEventListener("visibilitychange", loop);
startTargets();
startFeed();
startTrying();
startReports();
if (token.get()) signIn().catch((error) => signOut(error.status === 401 ? "" : error.message));
else signOut();
