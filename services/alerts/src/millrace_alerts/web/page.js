// The operator page: open alerts, machine states and OEE, live. It shows what the stream says and says plainly when
// there is no stream. Reading needs no token where the plant allows that; acting on an alert does.

// Words, shapes and colours of states are the contract's, as the boards have them.
import { EVALUABLE, HIDDEN, LOOKS, RESPONSES, UNACKNOWLEDGED } from "./words.js";

const SILENT_MS = 12_000;   // The stream has a pulse every 5 s.
const RETRY_MS = 2_000;

const parts = {};
let lastHeard = null;
let lostSince = null;
let whyLost = "";
let serverOffset = 0;       // The server's clock counts, so that "since" is right on a tablet with a wrong one.

const byId = (id) => document.getElementById(id);
const storage = window.sessionStorage;

// ---- the stream

async function listen() {
  for (;;) {
    try {
      await readStream();
      lost("the server closed the connection");
    } catch (error) {
      lost(error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function readStream() {
  const stopper = new AbortController();
  const headers = storage.token ? { Authorization: `Bearer ${storage.token}` } : {};
  let pulse = Date.now();
  const watchdog = setInterval(() => {
    if (Date.now() - pulse > SILENT_MS) stopper.abort(new Error("the server is silent"));
  }, 1_000);
  try {
    const response = await fetch("page/stream", { headers, cache: "no-store", signal: stopper.signal });
    if (response.status === 401 || response.status === 403) {
      await askForToken("This page is for holders of a token with the scope read.");
      throw new Error("a token is needed");
    }
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      pulse = Date.now();
      buffer += value.replaceAll("\r\n", "\n");
      let end;
      while ((end = buffer.indexOf("\n\n")) >= 0) {
        const data = buffer.slice(0, end).split("\n").filter((line) => line.startsWith("data:"));
        buffer = buffer.slice(end + 2);
        if (data.length) take(JSON.parse(data.map((line) => line.slice(5)).join("\n")));
      }
    }
  } finally {
    clearInterval(watchdog);
    stopper.abort();
  }
}

function take(message) {
  lastHeard = new Date();
  serverOffset = Date.parse(message.now) - Date.now();
  if (lostSince) {
    lostSince = null;
    showConnection();
  }
  Object.assign(parts, message.parts);
  if ("alerts" in message.parts) showAlerts();
  const lines = Object.keys(message.parts).filter((name) => name.startsWith("line/"));
  if (lines.length) showLines();
  tick();
}

function lost(reason) {
  lostSince ??= lastHeard ?? new Date();
  whyLost = reason;
  showConnection();
}

function showConnection() {
  const bar = byId("connection");
  document.body.classList.toggle("lost", lostSince !== null);
  bar.hidden = lostSince === null;
  if (lostSince) {
    const known = lastHeard ? "What you see is old." : "Nothing could be read yet.";
    bar.textContent = `Connection lost since ${clockTime(lostSince)} (${whyLost}). ${known} Trying again.`;
  }
}

// ---- alerts

function showAlerts() {
  const { shown, hidden, total, blind, blind_total: blindTotal } = parts.alerts;
  byId("alerts").replaceChildren(...(shown.length ? shown.map(alertItem) : [noAlerts()]));
  byId("more").hidden = total <= shown.length;
  byId("more").textContent = `${total - shown.length} more are not shown here.`;
  const box = byId("hidden");
  box.hidden = hidden.length === 0;
  box.querySelector("summary").textContent = `Shelved or suppressed: ${hidden.length}`;
  box.querySelector("ol").replaceChildren(...hidden.map(alertItem));
  showWatching();
  const blindBox = byId("blind");
  blindBox.hidden = blind.length === 0;
  blindBox.querySelector("summary").textContent = `Cannot be evaluated: ${blindTotal} ${blindTotal === 1 ? "rule" : "rules"}`;
  blindBox.querySelector("ol").replaceChildren(...blindGroups(blind).map(blindItem));
  const unacked = shown.filter((alert) => UNACKNOWLEDGED.includes(alert.state)).length;
  const toAck = shown.filter((alert) => UNACKNOWLEDGED.includes(alert.state));
  byId("ack-all").hidden = toAck.length < 2;
  byId("ack-all").textContent = `Acknowledge all ${toAck.length} that are shown`;
  const doubt = parts.alerts.not_watching_since ? " known" : "";
  const unseen = blindTotal && !doubt ? `, ${blindTotal} cannot be evaluated` : "";
  byId("summary").textContent = (total === 0 ? `No open alerts${doubt}` : `${total} open, ${unacked} to acknowledge`) + unseen;
  document.title = unacked ? `(${unacked}) Millrace` : "Millrace";
}

function noAlerts() {
  const item = document.createElement("li");
  item.className = "none quiet";
  const { not_watching_since: since, blind_total: blind } = parts.alerts;
  item.textContent = since ? "No open alerts are known, and nobody is watching." : blind ? "No open alerts, as far as rules can be evaluated." : "No open alerts.";
  return item;
}

// Nobody hears the plant: what is shown was true before.
function showWatching() {
  const since = parts.alerts.not_watching_since;
  const bar = byId("watching");
  bar.hidden = since === null;
  if (since) bar.textContent = `Not watching the plant since ${clockTime(new Date(since))}: no connection to the broker. Nothing is evaluated; look at the machines.`;
}

// Rules that cannot be evaluated, by their reason: one line for many devices.
function blindGroups(blind) {
  const groups = new Map();
  for (const alert of blind) {
    const key = alert.explained_by ?? `${alert.evaluation} ${alert.rule}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(alert);
  }
  return [...groups.values()];
}

function blindItem(alerts) {
  const item = element("li", `blind-group look-evaluation-${alerts[0].evaluation}`);
  const cause = parts.alerts.shown.find((alert) => alert.id === alerts[0].explained_by);
  const names = [...new Set(alerts.map((alert) => alert.device_id ?? "the platform itself"))];
  const more = names.length > 8 ? ` and ${names.length - 8} more` : "";
  const since = alerts.map((alert) => alert.blind_since).filter(Boolean).sort()[0];
  item.append(
    element("p", "title", cause ? `${cause.title}: ${alerts.length} rules follow from it` : `${alerts[0].title}: ${LOOKS.evaluation[alerts[0].evaluation].word}`),
    element("p", "about", names.slice(0, 8).join(", ") + more + (since ? ` · since ${clockTime(new Date(since))}` : "")),
  );
  return item;
}

function alertItem(alert) {
  const item = byId("alert-template").content.firstElementChild.cloneNode(true);
  item.classList.add(`look-priority-${alert.priority}`);
  item.classList.toggle("unacked", UNACKNOWLEDGED.includes(alert.state));
  const set = (name, text) => { item.querySelector(`.${name}`).textContent = text; };
  item.querySelector(".priority").append(...shapeAndWord(LOOKS.priority[alert.priority]));
  item.querySelector(".state").classList.add(`look-alert-${alert.state}`);
  item.querySelector(".state").append(...shapeAndWord(LOOKS.alert[alert.state]));
  const since = item.querySelector(".since");
  since.dataset.since = alert.activated_at ?? alert.timestamp;
  set("title", alert.title);
  if (alert.level) item.querySelector(".title").append(" ", element("span", "level", alert.level.toUpperCase()));
  if (alert.first_out) item.querySelector(".title").append(" ", element("span", "first-out", `(first of ${alert.group})`));
  const cause = alert.first_cause ? `probably because of ${alert.first_cause}` : "";
  const left = alert.time_left ? `limit in ${number(alert.time_left.likely_h)} h at work (${number(alert.time_left.earliest_h)} to ${number(alert.time_left.latest_h)})` : "";
  const zone = alert.zone ? `zone ${alert.zone}` : "";
  set("about", [whose(alert), measured(alert), left, zone, cause, evaluation(alert)].filter(Boolean).join(" · "));
  set("action", hiddenText(alert) || alert.action || "");
  if (alert.acked_by && !UNACKNOWLEDGED.includes(alert.state) && !HIDDEN.includes(alert.state)) set("action", `Acknowledged by ${alert.acked_by}, ${clockTime(new Date(alert.acked_at))}`);
  const button = item.querySelector(".respond");
  const response = RESPONSES[alert.state];
  button.hidden = !response;
  if (response) {
    button.textContent = response[1];
    button.addEventListener("click", () => respond(alert, ...response));
  }
  return item;
}

function measured(alert) {
  if (alert.limit === null && typeof alert.value === "string") return alert.value;
  if (alert.limit === null) return "";
  const unit = unitOf(alert.unit);
  const old = EVALUABLE.includes(alert.evaluation) ? "" : " (old)";
  const figures = [
    alert.value === null ? "no value now" : `now ${number(alert.value)}${unit}${old}`,
    alert.peak === null ? "" : `peak ${number(alert.peak)}${unit}`,
    alert.activation_value === null ? "" : `raised at ${number(alert.activation_value)}${unit}`,
    `limit ${number(alert.limit)}${unit}`,
  ];
  return figures.filter(Boolean).join(", ");
}

function evaluation(alert) {
  return EVALUABLE.includes(alert.evaluation) ? "" : LOOKS.evaluation[alert.evaluation].word;
}

function hiddenText(alert) {
  if (!HIDDEN.includes(alert.state)) return "";
  return alert.state === "SHLVD" ? `${alert.reason} - until ${clockTime(new Date(alert.shelved_until))}` : alert.reason;
}

// Units are stored as UCUM spells them; people read them as on the machine.
const UNITS = { Cel: "°C", "kW.h": "kWh", "m3/h": "m³/h", "{part}": "parts", m3: "m³", 1: "" };
const unitOf = (unit) => (unit ? ` ${UNITS[unit] ?? unit}` : "");
const whose = (alert) => (alert.device_id ? `${alert.device_id} · ${lineTitle(alert)}` : "the platform itself");
const lineTitle = (alert) => parts[`line/${alert.line}`]?.title ?? alert.line;

const number = (value) => (typeof value === "number" ? Number(value.toPrecision(4)).toString() : value);

// ---- machines

function showLines() {
  const names = Object.keys(parts).filter((name) => name.startsWith("line/"));
  byId("lines").replaceChildren(...names.map((name) => lineCard(parts[name])));
}

function lineCard(line) {
  const card = byId("line-template").content.firstElementChild.cloneNode(true);
  card.querySelector("h3").textContent = line.title;
  const oee = card.querySelector(".line-oee");
  const bold = document.createElement("b");
  bold.textContent = percent(line.oee);
  oee.append("OEE ", bold);
  if (line.oee !== null) {
    oee.append(`  A ${percent(line.availability)} · P ${percent(line.performance)} · Q ${percent(line.quality)}`);
  }
  if (line.window) oee.title = `shift ${line.window}`;
  card.querySelector("ul").replaceChildren(...line.machines.map(machineTile));
  return card;
}

function machineTile(machine) {
  const [set, word, more = ""] = machineWord(machine);
  const tile = document.createElement("li");
  tile.className = `machine look-${set}-${word}`;
  tile.classList.toggle("in-doubt", set === "reading" || (set === "comms" && machine.has_state));
  tile.title = machine.reason ?? "";
  const what = element("p", "what");
  const shown = element("span", "word");
  shown.append(...shapeAndWord(LOOKS[set][word], more));
  what.append(shown, element("span", "quiet", machine.oee === null ? "" : percent(machine.oee)));
  tile.append(element("p", "name", machine.id), what, element("p", "title", machine.title));
  return tile;
}

function machineWord(machine) {
  if (machine.comms === "offline" || !machine.has_state) return ["comms", machine.comms];
  if (machine.state === null) return ["reading", "never_read"];
  if (machine.stale) return ["reading", "stale", ` (${LOOKS.machine[machine.state].word})`];
  return ["machine", machine.state];
}

// The shape is for eyes only: a screen reader has the word.
function shapeAndWord(look, more = "") {
  const shape = element("span", "shape", look.shape);
  shape.setAttribute("aria-hidden", "true");
  return [shape, document.createTextNode(look.word + more)];
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

const percent = (ratio) => (ratio === null || ratio === undefined ? "–" : `${(ratio * 100).toFixed(1)} %`);

// ---- acting

let pending = null;

function respondToAll() {
  const alerts = parts.alerts.shown.filter((alert) => UNACKNOWLEDGED.includes(alert.state));
  pending = { many: alerts };
  openDialog(`Acknowledge ${alerts.length} alerts`, alerts.slice(0, 5).map((alert) => `${alert.title} (${whose(alert)})`).join("; ") + (alerts.length > 5 ? " …" : ""), "Acknowledge");
}

function respond(alert, action, label) {
  pending = { alert, action, key: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
  openDialog(`${label}: ${alert.title}`, `${whose(alert)} · since ${clockTime(new Date(alert.activated_at ?? alert.timestamp))}`, label);
}

function openDialog(title, about, label) {
  byId("act-title").textContent = title;
  byId("act-about").textContent = about;
  byId("act-confirm").textContent = label;
  byId("token-row").hidden = Boolean(storage.token);
  byId("actor").value = storage.actor ?? "";
  byId("comment").value = "";
  problem("");
  byId("act").showModal();
}

let tokenWaiter = null;

function askForToken(why) {
  if (!byId("act").open) {
    pending = null;
    openDialog("Token needed", why, "Continue");
    byId("token-row").hidden = false;
  }
  return new Promise((resolve) => { tokenWaiter = resolve; });
}

async function confirmAct(event) {
  event.preventDefault();
  if (byId("token").value) storage.token = byId("token").value.trim();
  storage.actor = byId("actor").value.trim();
  byId("token").value = "";
  if (!pending) {
    byId("act").close();
    return;
  }
  byId("act-confirm").disabled = true;
  try {
    await (pending.many ? sendMany(pending.many) : send(pending));
    byId("act").close();
  } catch (error) {
    problem(error.message);
  } finally {
    byId("act-confirm").disabled = false;
  }
}

async function sendMany(alerts) {
  const body = { actor: storage.actor, items: alerts.map(({ id, version }) => ({ id, version })) };
  if (byId("comment").value.trim()) body.comment = byId("comment").value.trim();
  const answer = await post("v1/alerts/ack", {}, body);
  const left = answer.items.filter((item) => item.result !== "done");
  if (left.length) throw new Error(`${alerts.length - left.length} acknowledged; ${left.length} have changed since and were left: look at them again.`);
}

async function send({ alert, action, key }) {
  const body = { actor: storage.actor };
  if (byId("comment").value.trim()) body.comment = byId("comment").value.trim();
  await post(`v1/alerts/${encodeURIComponent(alert.id)}/${action}`, { "If-Match": `"${alert.version}"`, "Idempotency-Key": key }, body);
}

async function post(path, headers, body) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${storage.token ?? ""}`, ...headers },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The server cannot be reached; nothing is known to have been done. Try again.");
  }
  if (response.ok) return response.json();
  const told = await response.json().catch(() => ({ detail: `the server answers ${response.status}` }));
  if (response.status === 401) byId("token-row").hidden = false; // Kept until another is typed: the next answer may know it.
  if (response.status === 412) throw new Error("This alert has changed since you opened it. Close this and look at it again.");
  throw new Error(told.detail);
}

function problem(text) {
  byId("act-problem").hidden = !text;
  byId("act-problem").textContent = text;
}

// ---- time

const clockTime = (moment) => {
  const day = moment.toDateString() === new Date().toDateString() ? "" : `${moment.toLocaleDateString()} `;
  return day + moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
};

function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

function tick() {
  const now = Date.now() + serverOffset;
  for (const since of document.querySelectorAll(".since[data-since]")) {
    since.textContent = `for ${duration(now - Date.parse(since.dataset.since))}`;
  }
  byId("clock").textContent = clockTime(new Date(now));
}

byId("act").addEventListener("submit", confirmAct);
byId("ack-all").addEventListener("click", respondToAll);
byId("act").addEventListener("close", () => { tokenWaiter?.(); tokenWaiter = null; });
byId("act-cancel").addEventListener("click", () => byId("act").close());
setInterval(tick, 1_000);
listen();
