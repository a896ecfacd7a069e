// What JavaScript adds to pages that are complete without it: they follow what happens. There is one renderer, the
// server's: when something changed, the same page is fetched again and the parts that differ are swapped. Only the
// lamps and the sound follow the edges themselves, because they are faster than pages.
"use strict";

const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const stored = (key, value) => {
  // A browser may refuse to store; then a choice lasts as long as the page.
  try {
    if (value === undefined) return localStorage.getItem(key);
    localStorage.setItem(key, value);
  } catch { }
  return null;
};

// Before anything is painted, so that nothing flashes: this script stands in the head for that.
const THEMES = ["system", "light", "dark"];
const setTheme = (theme) => theme === "system" ? delete root.dataset.theme : root.dataset.theme = theme;
let theme = THEMES.includes(stored("theme")) ? stored("theme") : "system";
setTheme(theme);

document.addEventListener("DOMContentLoaded", () => {
  themeButton();
  cleanAddress();
  remember(document);
  enhance(document);
  document.addEventListener("submit", submitted);
  document.addEventListener("click", clicked);
  document.addEventListener("visibilitychange", () => document.hidden ? rest() : wake());
  // A page that comes back from the browser's history is old.
  window.addEventListener("pageshow", (event) => event.persisted && wake());
  watchOlder();
  setInterval(tellTimes, 15000);
  if (!["login", "failed"].includes(view())) connect();
});

const view = () => document.body.dataset.view;

function themeButton() {
  const button = byId("theme");
  const tell = () => { button.textContent = `Theme: ${theme}`; };
  button.hidden = false;
  tell();
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    stored("theme", theme);
    setTheme(theme);
    tell();
  });
}

// What was just done is said once; whoever reloads or shares the address does not say it again.
function cleanAddress() {
  const url = new URL(location.href);
  if (!url.searchParams.has("done")) return;
  url.searchParams.delete("done");
  history.replaceState(null, "", url);
}

// Buttons that need JavaScript are hidden until there is some. Browsers copy only for pages that came safely.
function enhance(part) {
  for (const button of part.querySelectorAll("#sound")) button.hidden = !window.AudioContext;
  for (const button of part.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
}

function notice(text) {
  const line = byId("notice");
  // The same words twice are news twice: a reader hears only what changes.
  line.textContent = "";
  setTimeout(() => { line.textContent = text; }, 30);
}

// --- Swapping ---

// What the server said last for each part: compared with that, not with what the page has become by opened details.
const said = new Map();

const sectionsOf = (doc) => doc.querySelectorAll("[data-live]");

function remember(doc) {
  for (const part of sectionsOf(doc)) if (part.dataset.live !== "merge") said.set(part.id, part.outerHTML);
}

function swap(doc) {
  // Another version of hookbell draws its pages for its own style and script.
  const script = (page) => page.querySelector("script")?.getAttribute("src");
  if (script(doc) !== script(document) && !document.activeElement?.matches("input, textarea")) return location.reload();
  const there = new Set([...sectionsOf(doc)].map((part) => part.id));
  for (const fresh of sectionsOf(doc)) {
    const old = byId(fresh.id);
    if (!old) continue;
    if (fresh.dataset.live === "merge") merge(old, fresh);
    else if (said.get(fresh.id) !== fresh.outerHTML) {
      const text = fresh.outerHTML;
      if (replace(old, fresh)) said.set(fresh.id, text);
    }
  }
  // What is there no more, such as a welcome, goes.
  for (const gone of sectionsOf(document)) if (!there.has(gone.id)) { said.delete(gone.id); gone.remove(); }
}

// How an element is found again after a swap.
const keyOf = (element) => element && (element.id || element.getAttribute("href") || element.getAttribute("aria-label") || element.textContent);

function replace(old, fresh) {
  const active = old.contains(document.activeElement) ? document.activeElement : null;
  // Never under somebody's hands: what is typed or chosen stays until they leave it.
  if (active && active.matches("input:not([type=hidden]), textarea, select")) return false;
  const open = new Set([...old.querySelectorAll("details[open] > summary")].map(keyOf));
  for (const summary of fresh.querySelectorAll("summary")) if (open.has(keyOf(summary))) summary.parentElement.open = true;
  const known = new Set([...old.querySelectorAll("[data-event]")].map((item) => item.dataset.event));
  const scrolled = [...old.querySelectorAll(".scroll, .body")].map((box) => [box.scrollLeft, box.scrollTop]);
  const adopted = document.adoptNode(fresh);
  old.replaceWith(adopted);
  enhance(adopted);
  for (const item of adopted.querySelectorAll("[data-event]")) if (known.size && !known.has(item.dataset.event)) item.classList.add("fresh");
  adopted.querySelectorAll(".scroll, .body").forEach((box, index) => { if (scrolled[index]) [box.scrollLeft, box.scrollTop] = scrolled[index]; });
  if (active) {
    const again = [...adopted.querySelectorAll("a, button, summary, [tabindex]")].find((element) => keyOf(element) === keyOf(active));
    if (again) again.focus({ preventScroll: true });
  }
  return true;
}

// A list that may be longer here than there: rows are renewed, new ones come on top, older ones stay.
function merge(old, fresh) {
  const before = old.firstElementChild, top = Number(before?.dataset.delivery ?? 0);
  const isFirstPage = !new URLSearchParams(location.search).has("before");
  const rows = [...fresh.children];
  // So much has come in between that not even the last of them is known here: what is between would be missing.
  if (isFirstPage && before && rows.length && !rows.some((row) => byId(row.id))) {
    const line = byId("older"), next = fresh.ownerDocument.getElementById("older");
    if (line && next) line.replaceChildren(...document.adoptNode(next).childNodes);
    old.replaceChildren(...rows.map((row) => document.adoptNode(row)));
    return;
  }
  for (const row of [...fresh.children]) {
    const known = byId(row.id);
    if (known && known.innerHTML !== row.innerHTML) replaceRow(known, row);
    else if (!known && isFirstPage && Number(row.dataset.delivery) > top) {
      const added = document.adoptNode(row);
      added.classList.add("fresh");
      old.insertBefore(added, before);
      byId("empty")?.remove();
    }
  }
}

function replaceRow(known, row) {
  const hadFocus = known.contains(document.activeElement);
  known.replaceChildren(...document.adoptNode(row).childNodes);
  known.dataset.status = row.dataset.status;
  if (hadFocus) known.querySelector("a")?.focus({ preventScroll: true });
}

async function load(url, options) {
  const answer = await fetch(url, { headers: { accept: "text/html" }, ...options });
  // The session has ended: the whole page asks for the token.
  if (answer.status === 401 || (answer.redirected && new URL(answer.url).pathname === "/login")) { location.reload(); return null; }
  const doc = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { doc, answer };
}

// At most four fetches a second, never two at once, and a slow machine has half of its time for other things; what
// comes meanwhile is one more. Figures of a whole day do not change that fast.
const paceMs = () => Math.max(view() === "flow" ? 2000 : 250, 2 * took);
let loading = false, wanted = false, timer = 0, begun = 0, took = 0;

function refresh() {
  if (loading) wanted = true;
  // A page that is not seen catches up when it is.
  if (loading || timer || document.hidden) return;
  timer = setTimeout(reload, Math.max(20, begun + paceMs() - Date.now()));
}

async function reload() {
  timer = 0; loading = true; wanted = false; begun = Date.now();
  try {
    const got = await load(location.href);
    if (got?.answer.ok) { swap(got.doc); if (syncNext) { syncNext = false; syncLamps(got.doc); } }
  } catch { /* The stream says that it is lost. */ }
  took = Date.now() - begun;
  loading = false;
  if (wanted) refresh();
}

// --- The stream ---

let stream = null, syncNext = false, lostTimer = 0, again = 0;

function connect() {
  if (stream) return;
  stream = new EventSource("/api/live");
  const on = (name, act) => stream.addEventListener(name, (event) => act(JSON.parse(event.data || "{}")));
  stream.onopen = () => {
    lost(false);
    // Between the page and the stream something may have happened.
    syncNext = true;
    refresh();
  };
  stream.onerror = () => {
    lost(true);
    // After an answer that is no stream the browser gives up; we do not.
    if (stream && stream.readyState === EventSource.CLOSED) { leave(); again = setTimeout(wake, 5000); }
  };
  on("delivery", (row) => { if (view() !== "delivery" || location.pathname.endsWith(`/${row.id}`)) refresh(); });
  on("health", refresh);
  on("reset", () => { syncNext = true; refresh(); });
  on("desk", (desk) => { for (const line of desk.lines ?? []) shine(line.name, line.lit, line.percent, line.hz); refresh(); });
  on("edges", ({ edges }) => play(edges ?? []));
}

function leave() {
  clearTimeout(again);
  stream?.close();
  stream = null;
}

// A moment without a stream is nothing to read about.
function lost(is) {
  clearTimeout(lostTimer);
  document.body.dataset.stream = is ? "lost" : "live";
  if (is) lostTimer = setTimeout(() => { byId("lost").hidden = false; }, 1500);
  else byId("lost").hidden = true;
}

// A page that nobody sees costs the little computer nothing, unless it is listened to.
function rest() { if (!audio) leave(); }
function wake() {
  if (["login", "failed"].includes(view())) return;
  if (stream) refresh(); else connect();
}

// --- Lamps and sound ---

// Edges come in bundles; each is shown as long after the first as it was. A bundle is never played for longer than this.
const BUNDLE_MS_MAX = 2000;

function play(edges) {
  const first = edges[0]?.t_ms ?? 0;
  for (const edge of edges) {
    const wait = Math.min(Math.max(edge.t_ms - first, 0), BUNDLE_MS_MAX);
    const show = () => shine(edge.line, edge.level, edge.percent, edge.hz);
    if (wait > 0) setTimeout(show, wait); else show();
  }
}

function shine(name, level, percent, hz) {
  const lit = Boolean(level), key = CSS.escape(name);
  for (const lamp of document.querySelectorAll(`[data-lamp="${key}"]`)) {
    const isBuzzer = lamp.dataset.kind === "buzzer";
    lamp.setAttribute("opacity", lit ? (percent ?? 100) / 100 : 0);
    lamp.dataset.level = lit ? "1" : "0";
    lamp.setAttribute("aria-label", `${name}, ${lit ? (isBuzzer ? "sounding" : "lit") : (isBuzzer ? "silent" : "dark")}`);
    if (isBuzzer) sound(lit, hz);
  }
  for (const words of document.querySelectorAll(`[data-says="${key}"]`)) {
    words.textContent = !lit ? "" : hz ? `${hz} Hz` : percent != null && percent < 100 ? `${percent} %` : "on";
  }
}

function syncLamps(doc) {
  for (const lamp of doc.querySelectorAll("[data-lamp]")) {
    const words = doc.querySelector(`[data-says="${CSS.escape(lamp.dataset.lamp)}"]`)?.textContent ?? "";
    const hz = words.endsWith(" Hz") ? Number(words.replace(/\D/g, "")) : undefined;
    shine(lamp.dataset.lamp, lamp.dataset.level === "1", 100 * lamp.getAttribute("opacity"), hz);
  }
}

// An active buzzer has one pitch of its own, about this.
const ACTIVE_HZ = 2300, VOLUME = 0.06;
let audio = null, tone = null;

function toggleSound(button) {
  if (audio) { audio.close(); audio = tone = null; }
  else {
    audio = new AudioContext();
    const square = new OscillatorNode(audio, { type: "square", frequency: ACTIVE_HZ });
    const volume = new GainNode(audio, { gain: 0 });
    square.connect(volume).connect(audio.destination);
    square.start();
    tone = { square, volume };
  }
  button.setAttribute("aria-pressed", String(audio !== null));
}

function sound(lit, hz) {
  if (!tone) return;
  const now = audio.currentTime;
  if (lit) tone.square.frequency.setValueAtTime(hz || ACTIVE_HZ, now);
  // Not at once: a step of the volume clicks.
  tone.volume.gain.setTargetAtTime(lit ? VOLUME : 0, now, 0.003);
}

// --- What people do ---

async function clicked(event) {
  const button = event.target.closest("button");
  if (button?.id === "sound") toggleSound(button);
  if (!button?.dataset.copy) return;
  try {
    await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
    notice("Copied.");
  } catch { notice("The browser does not allow copying; mark the text instead."); }
}

// The same form without the page: its answer is a page of ours, of which the parts are taken.
async function submitted(event) {
  const form = event.target, button = event.submitter;
  if (form.method !== "post" || "plain" in form.dataset) return;
  event.preventDefault();
  if (button?.getAttribute("aria-busy") === "true") return;
  button?.setAttribute("aria-busy", "true");
  try {
    const got = await load(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (!got) return;
    const { doc, answer } = got;
    if (answer.ok) {
      swap(doc);
      const words = doc.getElementById("notice")?.textContent;
      notice(words || (form.action.endsWith("/test") && doc.getElementById("tested") ? "Tested." : "Done."));
    } else {
      const words = ["failed", "hint"].map((id) => doc.getElementById(id)?.textContent).filter(Boolean);
      notice(words.join("; ") || `It did not work: ${answer.status}.`);
    }
  } catch { notice("hookbell does not answer."); }
  button?.removeAttribute("aria-busy");
}

// --- The list that goes on ---

let watcher = null;

function watchOlder() {
  const line = byId("older");
  if (!line || !window.IntersectionObserver) return;
  let busy = false;
  watcher = new IntersectionObserver(async (seen) => {
    const link = line.querySelector("a");
    if (busy || !link || !seen.some((entry) => entry.isIntersecting)) return;
    busy = true;
    try {
      const got = await load(link.href);
      const next = got?.answer.ok ? got.doc.getElementById("older") : null;
      if (next) {
        for (const row of [...got.doc.getElementById("rows").children]) if (!byId(row.id)) byId("rows").append(document.adoptNode(row));
        const hadFocus = line.contains(document.activeElement);
        line.replaceChildren(...document.adoptNode(next).childNodes);
        if (hadFocus) line.querySelector("a")?.focus({ preventScroll: true });
      }
      // A page may be short although there is more: look again whether the link is still in view, without haste.
      setTimeout(() => { busy = false; watcher.unobserve(line); watcher.observe(line); }, next ? 100 : 3000);
    } catch { setTimeout(() => { busy = false; }, 3000); }
  }, { rootMargin: "400px" });
  watcher.observe(line);
}

// --- Times ---

// The words of src/panel/page/html.rs, so that a page that stands still does not lie.
function tellTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    if (!/ago$|^just now$|^in /.test(time.textContent)) continue;
    const seconds = Math.floor(Date.now() / 1000) - Math.floor(Date.parse(time.dateTime) / 1000), apart = Math.abs(seconds);
    const [size, unit] = apart < 90 ? [1, "s"] : apart < 5400 ? [60, "min"] : apart < 172800 ? [3600, "h"] : [86400, "days"];
    const words = `${Math.floor(apart / size)}\u00a0${unit}`;
    time.textContent = seconds >= 0 && seconds < 5 ? "just now" : seconds < 0 ? `in ${words}` : `${words} ago`;
  }
}
