"use strict";
// Draws, asks the server for logits, and shows their softmax at the temperature of the slider.
const $ = (id) => document.getElementById(id);
const pad = $("pad"), ink = pad.getContext("2d", { willReadFrequently: true });
const PEN = pad.width / 13, STEP = pad.width / 28;
const MOST = 20; // classes a card shows; of more, the likeliest
let facts, logits = null, last = null, drawn = false, asking = false, again = null, pen = null, lowered = false, turn = 0;

const temperature = () => 20 ** ($("temperature").value / 100);

function softmax(scores, t) {
  const most = Math.max(...scores), odds = scores.map((s) => Math.exp((s - most) / t));
  const sum = odds.reduce((a, b) => a + b, 0);
  return odds.map((o) => o / sum);
}

function show() {
  $("value").textContent = temperature().toFixed(1);
  facts.models.forEach((model, m) => {
    const card = $("models").children[m], bars = card.querySelectorAll(".bar");
    const shares = logits ? softmax(logits[m], temperature()) : null;
    const best = shares ? shares.indexOf(Math.max(...shares)) : -1;
    card.querySelector(".top").textContent = shares ? facts.classes[best] : "–";
    const order = facts.classes.map((_, k) => k);
    if (shares && order.length > MOST) order.sort((a, b) => shares[b] - shares[a]);
    bars.forEach((bar, place) => {
      const k = order[place], share = shares ? shares[k] : 0;
      bar.firstChild.textContent = bar.firstChild.title = facts.classes[k];
      bar.querySelector("i").style.transform = `scaleX(${share})`;
      bar.querySelector("small").textContent = shares ? `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %` : "";
      bar.classList.toggle("best", k === best);
    });
  });
}

function fail(message) {
  $("error").textContent = message || "";
  $("error").hidden = !message;
}

async function ask(path, body) {
  if (asking) { again = [path, body]; return; }
  asking = true;
  const asked = turn;
  try {
    const reply = await fetch(path, { method: "POST", body });
    const found = await reply.json();
    if (!reply.ok) throw new Error(found.error);
    if (asked !== turn) throw null; // cleared meanwhile
    logits = found.logits;
    fail("");
    const image = new Image();
    image.onload = () => $("seen").getContext("2d").drawImage(image, 0, 0);
    image.src = found.png;
    if (path === "/image") { wipe(); const copy = new Image(); copy.onload = () => fill(copy); copy.src = found.png; }
    show();
  } catch (error) {
    if (error) fail(error instanceof TypeError ? "limbeck demo no longer answers; start it again." : `It could not be read: ${error.message}.`);
  }
  asking = false;
  if (again) { const next = again; again = null; ask(...next); }
}

function wipe() {
  ink.fillStyle = facts.dark ? "#000" : "#fff";
  ink.fillRect(0, 0, pad.width, pad.height);
  drawn = false;
}

function fill(image) {
  ink.imageSmoothingEnabled = false;
  ink.drawImage(image, 0, 0, pad.width, pad.height);
  drawn = false; // the next stroke begins a new drawing
  last = "image";
}

function clear() {
  wipe();
  turn++; again = null; $("pen").hidden = true;
  logits = null; last = null; pen = null; lowered = false;
  $("seen").getContext("2d").clearRect(0, 0, facts.width, facts.height);
  pressed(null);
  fail("");
  show();
}

function stroke(from, to) {
  if (last === "image") { wipe(); last = null; pressed(null); }
  ink.strokeStyle = ink.fillStyle = facts.dark ? "#fff" : "#000";
  ink.lineWidth = PEN; ink.lineCap = "round";
  ink.beginPath(); ink.moveTo(...from); ink.lineTo(...to); ink.stroke();
  ink.beginPath(); ink.arc(...to, PEN / 2, 0, 2 * Math.PI); ink.fill(); // a line without length leaves no dot
  drawn = true;
  send();
}

// The drawing as images of the data set are: as large, and about the middle of its mass.
function sample() {
  const { data } = ink.getImageData(0, 0, pad.width, pad.height), n = pad.width;
  let left = n, right = -1, top = n, bottom = -1;
  for (let y = 0; y < n; y++) for (let x = 0; x < n; x++) {
    const v = facts.dark ? data[4 * (y * n + x)] : 255 - data[4 * (y * n + x)];
    if (v > 40) { left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y); }
  }
  if (right < 0) return null;
  const wide = right - left + 1, high = bottom - top + 1, { width, height } = facts;
  const scale = (facts.fill * Math.min(width, height)) / Math.max(wide, high);
  const place = (dx, dy) => {
    const canvas = document.createElement("canvas");
    canvas.width = width; canvas.height = height;
    const to = canvas.getContext("2d", { willReadFrequently: true });
    to.fillStyle = facts.dark ? "#000" : "#fff";
    to.fillRect(0, 0, width, height);
    to.imageSmoothingEnabled = true; to.imageSmoothingQuality = "high";
    to.drawImage(pad, left, top, wide, high, (width - wide * scale) / 2 + dx, (height - high * scale) / 2 + dy, wide * scale, high * scale);
    return to.getImageData(0, 0, width, height).data;
  };
  let found = place(0, 0), mass = 0, mx = 0, my = 0;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const v = facts.dark ? found[4 * (y * width + x)] : 255 - found[4 * (y * width + x)];
    mass += v; mx += v * x; my += v * y;
  }
  const room = (side, size) => Math.max(0, (side - size * scale) / 2);
  const bound = (shift, most) => Math.max(-most, Math.min(most, Math.round(shift)));
  found = place(bound((width - 1) / 2 - mx / mass, room(width, wide)), bound((height - 1) / 2 - my / mass, room(height, high)));
  const pixels = new Uint8Array(facts.channels * width * height);
  for (let c = 0; c < facts.channels; c++)
    for (let i = 0; i < width * height; i++) pixels[c * width * height + i] = found[4 * i + (facts.channels > 1 ? c : 0)];
  return pixels;
}

// Where the keyboard's pen is.
function pointed() {
  const mark = $("pen");
  mark.hidden = false;
  mark.classList.toggle("down", lowered);
  mark.style.left = `${(100 * pen[0]) / pad.width}%`;
  mark.style.top = `${(100 * pen[1]) / pad.height}%`;
}

let waiting = 0;
function send() {
  if (waiting) return;
  waiting = requestAnimationFrame(() => { waiting = 0; const pixels = drawn && sample(); if (pixels) ask("/answer", pixels); });
}

function pressed(button) {
  for (const other of $("examples").children) other.setAttribute("aria-pressed", String(other === button));
}

function at(event) {
  const box = pad.getBoundingClientRect();
  return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
}

function tried(example, button) {
  const bytes = Uint8Array.from(atob(example.pixels), (c) => c.charCodeAt(0));
  wipe();
  fill(button.firstChild);
  pressed(button);
  ask("/answer", bytes);
}

function open(file) {
  if (file) { pressed(null); ask("/image", file); }
}

function listen() {
  let from = null;
  pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); from = at(e); stroke(from, from); });
  pad.addEventListener("pointermove", (e) => {
    if (!from) return;
    for (const each of e.getCoalescedEvents?.() || [e]) { const to = at(each); stroke(from, to); from = to; }
  });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { from = null; send(); });
  pad.addEventListener("keydown", (e) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (e.key === "Delete" || e.key === "Backspace") clear();
    else if (e.key === " ") { pen = pen || [pad.width / 2, pad.height / 4]; lowered = !lowered; pointed(); if (lowered) stroke(pen, pen); }
    else if (moves[e.key]) {
      pen = pen || [pad.width / 2, pad.height / 4];
      const inside = (value) => Math.max(PEN / 2, Math.min(pad.width - PEN / 2, value));
      const to = [inside(pen[0] + STEP * moves[e.key][0]), inside(pen[1] + STEP * moves[e.key][1])];
      if (lowered) stroke(pen, to);
      pen = to;
      pointed();
      pad.setAttribute("aria-label", `Drawing area. Pen ${lowered ? "down" : "up"} at ${Math.round((100 * pen[0]) / pad.width)} %, ${Math.round((100 * pen[1]) / pad.height)} %.`);
    } else return;
    e.preventDefault();
  });
  $("clear").addEventListener("click", clear);
  $("temperature").addEventListener("input", show);
  $("file").addEventListener("change", (e) => { open(e.target.files[0]); e.target.value = ""; });
  const input = document.querySelector(".input");
  document.addEventListener("dragover", (e) => { e.preventDefault(); input.classList.add("over"); });
  document.addEventListener("dragleave", () => input.classList.remove("over"));
  document.addEventListener("drop", (e) => { e.preventDefault(); input.classList.remove("over"); open(e.dataTransfer.files[0]); });
}

function build() {
  $("about").textContent = `Draw something of ${facts.data}. Teacher, control and student answer side by side; nothing leaves this machine.`;
  $("seen").width = facts.width; $("seen").height = facts.height;
  const order = facts.classes.map((_, k) => k).slice(0, MOST);
  for (const model of facts.models) {
    const card = document.createElement("article"), title = document.createElement("h2"), about = document.createElement("p");
    card.className = `model ${model.role}`;
    title.textContent = model.role;
    if (model.name !== model.role) { const arm = document.createElement("b"); arm.textContent = ` ${model.name}`; title.append(arm); }
    about.textContent = model.about;
    const top = document.createElement("p");
    top.className = "top";
    card.append(title, about, top);
    for (const k of order) {
      const bar = document.createElement("div"), name = document.createElement("span"), fill = document.createElement("div");
      bar.className = "bar";
      name.textContent = facts.classes[k]; name.title = facts.classes[k];
      fill.append(document.createElement("i"));
      bar.append(name, fill, document.createElement("small"));
      card.append(bar);
    }
    $("models").append(card);
  }
  for (const example of facts.examples) {
    const button = document.createElement("button"), image = document.createElement("img");
    button.type = "button"; button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", `Try a validation image of class ${example.label}`);
    image.src = example.png; image.alt = "";
    button.append(image);
    button.addEventListener("click", () => tried(example, button));
    $("examples").append(button);
  }
}

(async () => {
  facts = await (await fetch("/facts")).json();
  build(); clear(); listen();
})();
