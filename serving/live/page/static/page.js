"use strict";

const STATE_MS = 500; // between two questions for the state
const TIMELINE_MS = 3000;
const HEARD_MS = 3000; // between two announcements for screen readers
const JOBS_MS = 1000;
const LISTED = 50; // rows of the list and events
const LANES = 10; // activities in the time line
const OTHER = "__address";

const $ = (id) => document.getElementById(id);

/** An element with text; text never becomes markup. */
function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

/** A request; a failed one throws an error with the server's reason. */
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Error("The page does not answer. It is asked again until it does.");
  }
  if (response.status === 401) location.assign("login");
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `Status ${response.status}`);
  return body;
}

const change = (path, body = {}, method = "POST") =>
  ask(path, { method, headers: { "X-ADL-Page": "1" }, body: method === "POST" ? JSON.stringify(body) : undefined });

const percent = (value) => `${Math.round(100 * value)} %`;
const who = (track) => (track < 0 ? "whole picture" : `person ${track}`); // some models see no persons
const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString([], { hour12: false });
const ago = (seconds) => (seconds < 10 ? `${seconds.toFixed(1)} s` : seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);

// ------------------------------------------------------------------------------------------------- the picture

let showing = false;

function showPicture(wanted) {
  if (wanted === showing) return;
  showing = wanted;
  if (wanted) $("picture").src = `picture.mjpg?${Date.now()}`;
  else $("picture").removeAttribute("src");
}
$("picture").addEventListener("error", () => { showing = false; });
document.addEventListener("visibilitychange", () => { if (document.hidden) showPicture(false); });

function drawPicture(state) {
  const picture = state.picture;
  const frame = $("frame");
  frame.classList.toggle("empty", !picture);
  frame.classList.toggle("old", Boolean(picture && picture.old));
  showPicture(Boolean(picture) && !document.hidden);
  let note = state.running ? "Waiting for the first picture" : "Not watching";
  if (picture) note = picture.old ? (state.running ? `No new picture for ${ago(picture.age)}` : "Stopped: this is the last picture") : "";
  $("picture-note").textContent = note;
  const privacy = { skeleton: "skeletons only", blur: "heads hidden", none: "" }[state.privacy];
  const size = picture ? `${picture.width} × ${picture.height}` : "";
  if (picture) $("picture").style.aspectRatio = `${picture.width} / ${picture.height}`;
  setText($("status"), state.running ? state.status : "");
  $("caption").textContent = [state.camera_name, size, privacy].filter(Boolean).join(" · ");
}

// -------------------------------------------------------------------------------------------------- the people

function personItem(person) {
  const item = make("li");
  item.classList.toggle("late", person.old);
  const name = make("div", "", "name");
  const label = person.label || (person.age === null ? "no answer yet" : "no recent answer");
  name.append(make("strong", person.label && person.label !== "unknown" ? `${label} ${percent(person.probability)}` : label));
  const age = person.age === null ? "" : person.old ? `old: ${ago(person.age)} ago` : `${ago(person.age)} ago`;
  name.append(make("span", `${who(person.track)}${age && ", "}${age}`, "age"));
  const bars = make("ul", "", "bars");
  for (const [activity, probability] of person.top) {
    const row = make("li");
    const bar = make("span", "", "bar");
    bar.style.width = `${100 * probability}%`;
    row.append(bar, make("span", activity), make("span", percent(probability)));
    bars.append(row);
  }
  item.append(name, bars);
  if ($("look").checked && person.attention?.time) item.append(moments(person.attention.time));
  return item;
}

/** Which moments of the answer's window count: a bar for each, the oldest first. */
function moments(values) {
  const strip = make("div", "", "moments");
  strip.setAttribute("role", "img");
  const most = values.indexOf(Math.max(...values));
  strip.setAttribute("aria-label", `The model looks most at moment ${most + 1} of ${values.length}`);
  for (const value of values) {
    const bar = make("span");
    bar.style.height = `${100 * value}%`;
    strip.append(bar);
  }
  return strip;
}

/** Where the model looks, drawn over the picture as a player fits it into its place. */
function drawAttention(state) {
  const people = state.persons.filter((person) => person.attention);
  $("look-label").hidden = people.length === 0 && !$("look").checked;
  const canvas = $("overlay");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width;
  canvas.height = height;
  if (!$("look").checked || !state.running || !state.picture || state.picture.old) return;
  const scale = Math.min(width / state.picture.width, height / state.picture.height);
  const [left, top] = [(width - scale * state.picture.width) / 2, (height - scale * state.picture.height) / 2];
  const context = canvas.getContext("2d");
  context.beginPath();
  context.rect(left, top, scale * state.picture.width, scale * state.picture.height);
  context.clip();
  for (const person of people) {
    if (!person.attention.grid || person.old) continue;
    const [x0, y0, x1, y1] = person.attention.seen;
    const rows = person.attention.grid.length;
    const side = [(scale * (x1 - x0)) / rows, (scale * (y1 - y0)) / rows];
    person.attention.grid.forEach((row, i) => row.forEach((value, j) => {
      context.fillStyle = `rgba(255, 80, 0, ${0.6 * value ** 2})`;
      context.fillRect(left + scale * x0 + j * side[0], top + scale * y0 + i * side[1], side[0], side[1]);
    }));
  }
}

const heard = { text: "", at: 0 };

function drawPeople(state) {
  const persons = state.running ? state.persons : [];
  $("people").replaceChildren(...persons.map(personItem));
  $("nobody").hidden = persons.length > 0;
  $("nobody").textContent = state.running ? "Nobody is seen." : "Nothing is watched.";
  const text = persons.filter((p) => p.label && !p.old).map((p) => `${who(p.track)}: ${p.label}`).join(". ");
  if (text !== heard.text && Date.now() - heard.at > HEARD_MS) {
    Object.assign(heard, { text, at: Date.now() });
    $("heard").textContent = text;
  }
}

// ------------------------------------------------------------------------------------------------ the controls

let busy = false; // with a change of this page
let chosen = { model: null, camera: null }; // what the session uses

function problem(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text || "";
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // else it would be read out again
}

function drawControls(state) {
  const waiting = busy || state.busy;
  $("start").disabled = waiting;
  $("stop").disabled = waiting || !state.running;
  $("start").textContent = state.running ? "Start again" : "Start";
  $("state").classList.toggle("on", state.running);
  setText($("state-text"), waiting ? "Starting or stopping" : state.running ? "Watching" : "Not watching");
  for (const [key, value] of [["model", state.model], ["camera", state.camera]]) {
    if (chosen[key] === value) continue;
    chosen[key] = value;
    const select = $(key);
    if (![...select.options].some((option) => option.value === value)) select.append(new Option(value, value));
    select.value = value;
    showAddress();
  }
}

function showAddress() {
  const other = $("camera").value === OTHER;
  $("address").hidden = $("address-label").hidden = !other;
  $("address").required = other;
}
$("camera").addEventListener("change", showAddress);

async function loadChoices() {
  const choices = await ask("api/choices");
  $("model").replaceChildren(...choices.models.map((name) => new Option(name, name)));
  $("camera").replaceChildren(...choices.cameras.map(([key, name]) => new Option(name, key)), new Option("Another one …", OTHER));
}

async function act(work) {
  busy = true;
  problem("");
  try {
    await work();
  } catch (error) {
    problem(error.message);
  }
  busy = false;
}

$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  const camera = $("camera").value === OTHER ? $("address").value.trim() : $("camera").value;
  act(() => change("api/start", { model: $("model").value, camera }));
});
$("stop").addEventListener("click", () => act(() => change("api/stop")));

// ----------------------------------------------------------------------------------------------- the time line

const segments = new Map(); // person and start -> segment
const events = new Map();
let asked = 0; // what is known up to this time by the session's clock, seconds since the epoch

function midnight() {
  const day = new Date();
  day.setHours(0, 0, 0, 0);
  return day.getTime() / 1000;
}

function span(now) {
  const value = $("span").value;
  return value === "day" ? [midnight(), midnight() + 86400] : [now - Number(value), now];
}

async function loadTimeline() {
  const open = [...segments].filter(([, one]) => one.end === null);
  const since = asked ? Math.min(asked, ...open.map(([, one]) => one.start)) : midnight();
  const found = await ask(`api/timeline?since=${since}`);
  for (const [key] of open) segments.delete(key); // the answer has those that still go on, and those that have ended
  for (const one of found.segments) segments.set(`${one.track} ${one.start}`, one);
  for (const one of found.events) events.set(one.id, one);
  asked = Math.max(midnight(), found.now - 120);
  for (const [key, one] of segments) if (one.end !== null && one.end < midnight()) segments.delete(key);
}

function svg(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** The activities of some segments, those of the longest time first, and their seconds. */
function durations(shown, now) {
  const total = new Map();
  for (const one of shown) total.set(one.label, (total.get(one.label) || 0) + (one.end ?? now) - one.start);
  return [...total].sort((a, b) => b[1] - a[1]);
}

function drawTimeline(now) {
  const [begin, end] = span(now);
  const shown = [...segments.values()].filter((one) => (one.end ?? now) > begin && one.start < end);
  const lanes = durations(shown, now);
  const width = Math.max($("timeline").clientWidth, 200);
  const height = 42; // of a lane: its name above its bar
  const drawn = svg("svg", { width, height: Math.min(lanes.length, LANES) * height + 22, "aria-hidden": "true" });
  const x = (time) => ((Math.min(Math.max(time, begin), end) - begin) / (end - begin)) * width;
  const ticks = width < 500 ? 3 : 6;
  for (let tick = 0; tick <= ticks; tick++) {
    const at = (tick / ticks) * width;
    const anchor = tick === 0 ? "start" : tick === ticks ? "end" : "middle";
    const time = new Date(1000 * (begin + (tick / ticks) * (end - begin))).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    drawn.append(svg("line", { x1: at, x2: at, y1: 0, y2: drawn.getAttribute("height") - 18 }));
    drawn.append(svg("text", { x: at, y: drawn.getAttribute("height") - 4, "text-anchor": anchor, class: "tick" }, time));
  }
  lanes.slice(0, LANES).forEach(([label], lane) => {
    drawn.append(svg("text", { x: 2, y: lane * height + 15 }, label));
    for (const one of shown) {
      if (one.label !== label) continue;
      const left = x(one.start);
      const wide = Math.max(x(one.end ?? now) - left, 2);
      const bar = svg("rect", { x: left, y: lane * height + 20, width: wide, height: 14, rx: 2 });
      bar.append(svg("title", {}, `${label}, ${who(one.track)}, ${clock(one.start)} to ${one.end === null ? "now" : clock(one.end)}`));
      drawn.append(bar);
    }
  });
  $("timeline").replaceChildren(drawn);
  const most = lanes.slice(0, 3).map(([label, seconds]) => `${label} ${ago(seconds)}`).join(", ");
  const more = lanes.length > LANES ? ` ${lanes.length - LANES} more activities are in the list.` : "";
  $("timeline-text").textContent = lanes.length ? `Longest: ${most}.${more}` : "No activities yet.";
  drawList(shown);
}

function drawList(shown) {
  const newest = shown.sort((a, b) => b.start - a.start).slice(0, LISTED);
  $("segments").replaceChildren(...newest.map((one) => {
    const row = make("tr");
    for (const cell of [clock(one.start), one.end === null ? "now" : clock(one.end), one.track < 0 ? "all" : one.track, one.label, percent(one.probability)]) row.append(make("td", cell));
    return row;
  }));
  $("events-part").hidden = events.size === 0;
  const last = [...events.values()].sort((a, b) => b.time - a.time).slice(0, LISTED);
  $("events").replaceChildren(...last.map((one) => make("li", eventText(one))));
}

function eventText(event) {
  const person = event.person === undefined ? "" : who(event.person);
  return [clock(event.time), event.rule, event.label, person].filter(Boolean).join(" · ");
}
$("span").addEventListener("change", () => drawTimeline(Date.now() / 1000));
addEventListener("resize", () => drawTimeline(Date.now() / 1000));

// ---------------------------------------------------------------------------------------------------- videos

let maxBytes = Infinity;
let sending = null; // {name, fraction, request}
const jobItems = new Map();
const jobStates = new Map();

$("upload").addEventListener("submit", (event) => {
  event.preventDefault();
  const file = $("file").files[0];
  if (!file || sending) return;
  if (file.size > maxBytes) return problem(`${file.name} has ${Math.ceil(file.size / 1e6)} MB, the limit is ${Math.floor(maxBytes / 1e6)} MB.`);
  send(file);
});

/** Sends a video; XMLHttpRequest, as fetch does not say how much has been sent. */
function send(file) {
  problem("");
  const request = new XMLHttpRequest();
  sending = { id: "sending", name: file.name, state: "sending", progress: 0, error: "", segments: [], request };
  request.upload.addEventListener("progress", (event) => { if (sending && event.total) sending.progress = event.loaded / event.total; });
  request.addEventListener("loadend", () => {
    sending = null;
    if (request.status === 202) $("upload").reset();
    else if (request.status) problem(reasonOf(request));
    else problem(`${file.name} was not sent.`);
    loadJobs().catch(() => {});
  });
  const look = $("file-look").checked ? "&attention" : "";
  request.open("POST", `api/uploads?name=${encodeURIComponent(file.name)}${look}`);
  request.setRequestHeader("X-ADL-Page", "1");
  request.send(file);
  drawJobs([]);
}

function reasonOf(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return `Status ${request.status}`;
  }
}

async function loadJobs() {
  const found = await ask("api/uploads");
  maxBytes = found.max_bytes;
  setText($("limit"), `At most ${Math.floor(maxBytes / 1e6)} MB.`);
  drawJobs(found.uploads);
}

const JOB_TEXT = { sending: "being sent", receiving: "being received", waiting: "waiting", running: "being annotated", done: "done", failed: "failed" };

function drawJobs(uploads) {
  const jobs = sending ? [...uploads.filter((job) => job.state !== "receiving"), sending] : uploads;
  for (const [id, item] of jobItems) {
    if (jobs.some((job) => job.id === id)) continue;
    item.remove();
    jobItems.delete(id);
  }
  for (const job of jobs) {
    if (jobStates.get(job.id) !== job.state || !jobItems.has(job.id)) {
      const item = jobItem(job);
      if (jobItems.has(job.id)) jobItems.get(job.id).replaceWith(item);
      else $("jobs").prepend(item);
      jobItems.set(job.id, item);
      jobStates.set(job.id, job.state);
      setText($("upload-heard"), `${job.name}: ${JOB_TEXT[job.state]}`);
    }
    const bar = jobItems.get(job.id).querySelector("progress");
    if (bar) bar.value = job.progress;
    const shown = jobItems.get(job.id).querySelector(".percent");
    if (shown) setText(shown, percent(job.progress));
  }
}

function jobItem(job) {
  const item = make("li");
  const head = make("div", "", "name");
  head.append(make("strong", job.name), make("span", JOB_TEXT[job.state], "age"));
  item.append(head);
  if (job.state === "failed") item.append(make("p", job.error, "failed"));
  if (job.state === "sending" || job.state === "running") {
    const bar = make("progress");
    bar.max = 1;
    bar.setAttribute("aria-label", `${job.name}: ${JOB_TEXT[job.state]}`);
    item.append(bar, make("span", percent(job.progress), "age percent"));
  }
  if (job.state === "done") {
    const video = make("video");
    video.controls = true;
    video.preload = "metadata";
    video.src = `api/uploads/${job.id}/video`;
    video.setAttribute("aria-label", `${job.name}, annotated`);
    const list = make("ul", "", "quiet-text");
    for (const one of job.segments.slice(0, LISTED)) {
      list.append(make("li", `${one.start.toFixed(1)} to ${one.end === null ? "the end" : one.end.toFixed(1)} s: ${one.label}, ${who(one.track)}, ${percent(one.probability)}`));
    }
    const link = make("a", "Download");
    link.href = `api/uploads/${job.id}/video?download`;
    item.append(video, list, link, " ");
  }
  const remove = make("button", job.state === "done" || job.state === "failed" ? "Remove" : "Cancel", "quiet");
  remove.type = "button";
  remove.setAttribute("aria-label", `${remove.textContent} ${job.name}`);
  remove.addEventListener("click", () => {
    if (job.request) return job.request.abort();
    act(async () => {
      await change(`api/uploads/${job.id}`, {}, "DELETE");
      await loadJobs();
      $("file").focus();
    });
  });
  item.append(remove);
  return item;
}

// -------------------------------------------------------------------------------------------------- going on

let reachable = true;

/** Does something again and again, each time some while after it has ended. */
function again(work, pause) {
  const once = async () => {
    try {
      await work();
      if (!reachable) problem("");
      reachable = true;
    } catch (error) {
      reachable = false;
      problem(error.message);
      $("frame").classList.add("old");
      $("picture-note").textContent = "No connection";
      for (const item of $("people").children) item.classList.add("late");
      showPicture(false);
    }
    setTimeout(once, pause);
  };
  return once();
}

let failed = "";

async function refresh() {
  const state = await ask("api/state");
  drawControls(state);
  drawPicture(state);
  drawPeople(state);
  drawAttention(state);
  if (state.error !== null && state.error !== failed) problem(state.error);
  failed = state.error ?? "";
}

async function begin() {
  try {
    await loadChoices();
  } catch (error) {
    problem(error.message);
    setTimeout(begin, 2000);
    return;
  }
  again(refresh, STATE_MS);
  again(async () => {
    const now = Date.now() / 1000;
    await loadTimeline();
    drawTimeline(now);
  }, TIMELINE_MS);
  again(loadJobs, JOBS_MS);
}

begin();
