// A drawing area, which also takes image files and examples.
import { $, element, exampleButton, markExample } from "/dom.js";

const pad = $("pad");
const ink = pad.getContext("2d", { willReadFrequently: true });
const PEN_WIDTH = pad.width / 13;
const STEP = pad.width / 28; // step of the keyboard's pen
const INK = 40; // brightness (of 255) above which a pixel belongs to the drawing

let facts;
let page; // its functions send(path, body) and clear()
let hasDrawing = false;
let showsImage = false; // an opened or example image; the next stroke replaces it
let pen = null; // position of the keyboard's pen
let penIsDown = false;
let generation = 0; // number of clears, to ignore images of earlier drawings

export class ImageForm {
  constructor(factsOfInput, functionsOfPage) {
    facts = factsOfInput;
    page = functionsOfPage;
    $("preview").width = facts.width;
    $("preview").height = facts.height;
    $("examples").append(...facts.examples.map(buildExample));
    clear();
    listen();
  }

  showAnswer(answer, path) {
    const image = new Image();
    const answerGeneration = generation;
    image.onload = () => {
      if (answerGeneration !== generation) return;
      $("preview").getContext("2d").drawImage(image, 0, 0);
      if (path === "/image") { wipe(); fill(image); }
    };
    image.src = answer.png;
  }

  showError() {}
}

function wipe() {
  ink.fillStyle = facts.dark ? "#000" : "#fff";
  ink.fillRect(0, 0, pad.width, pad.height);
  hasDrawing = false;
}

function fill(image) {
  ink.imageSmoothingEnabled = false;
  ink.drawImage(image, 0, 0, pad.width, pad.height);
  hasDrawing = false;
  showsImage = true;
}

function clear() {
  wipe();
  generation++;
  showsImage = false;
  pen = null;
  penIsDown = false;
  $("pen").hidden = true;
  $("preview").getContext("2d").clearRect(0, 0, facts.width, facts.height);
  markExample($("examples"), null);
  page.clear();
}

function stroke(from, to) {
  if (showsImage) {
    wipe();
    showsImage = false;
    markExample($("examples"), null);
  }
  ink.strokeStyle = ink.fillStyle = facts.dark ? "#fff" : "#000";
  ink.lineWidth = PEN_WIDTH;
  ink.lineCap = "round";
  ink.beginPath(); ink.moveTo(...from); ink.lineTo(...to); ink.stroke();
  ink.beginPath(); ink.arc(...to, PEN_WIDTH / 2, 0, 2 * Math.PI); ink.fill(); // a line of length 0 leaves no dot
  hasDrawing = true;
  send();
}

const brightness = (data, pixel) => (facts.dark ? data[4 * pixel] : 255 - data[4 * pixel]);

// The smallest box around the drawing, or null.
function drawingBox() {
  const n = pad.width;
  const { data } = ink.getImageData(0, 0, n, n);
  let left = n, right = -1, top = n, bottom = -1;
  for (let y = 0; y < n; y++) for (let x = 0; x < n; x++) {
    if (brightness(data, y * n + x) <= INK) continue;
    left = Math.min(left, x); right = Math.max(right, x);
    top = Math.min(top, y); bottom = Math.max(bottom, y);
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

// The drawing in the size and position of the dataset's images: scaled, with its centre of mass in the middle.
function drawingPixels() {
  const box = drawingBox();
  if (!box) return null;
  const { width, height, channels } = facts;
  const scale = (facts.fill * Math.min(width, height)) / Math.max(box.width, box.height);
  const render = (dx, dy) => {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = facts.dark ? "#000" : "#fff";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    const x = (width - box.width * scale) / 2 + dx;
    const y = (height - box.height * scale) / 2 + dy;
    context.drawImage(pad, box.left, box.top, box.width, box.height, x, y, box.width * scale, box.height * scale);
    return context.getImageData(0, 0, width, height).data;
  };
  const centred = render(0, 0);
  let mass = 0, momentX = 0, momentY = 0;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const value = brightness(centred, y * width + x);
    mass += value; momentX += value * x; momentY += value * y;
  }
  const margin = (side, size) => Math.max(0, (side - size * scale) / 2);
  const clamp = (shift, limit) => Math.max(-limit, Math.min(limit, Math.round(shift)));
  const dx = clamp((width - 1) / 2 - momentX / mass, margin(width, box.width));
  const dy = clamp((height - 1) / 2 - momentY / mass, margin(height, box.height));
  const image = render(dx, dy);
  const pixels = new Uint8Array(channels * width * height);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < width * height; i++) pixels[c * width * height + i] = image[4 * i + (channels > 1 ? c : 0)];
  return pixels;
}

let frame = 0;
function send() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    const pixels = hasDrawing && drawingPixels();
    if (pixels) page.send("/answer", pixels);
  });
}

function tryExample(example, button) {
  const bytes = Uint8Array.from(atob(example.pixels), (c) => c.charCodeAt(0));
  wipe();
  fill(button.firstChild);
  markExample($("examples"), button);
  page.send("/answer", bytes);
}

function open(file) {
  if (!file) return;
  markExample($("examples"), null);
  page.send("/image", file);
}

// Position of a pointer on the canvas.
function position(event) {
  const box = pad.getBoundingClientRect();
  return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
}

function showPen() {
  const mark = $("pen");
  const [x, y] = pen.map((value) => (100 * value) / pad.width);
  mark.hidden = false;
  mark.classList.toggle("down", penIsDown);
  mark.style.left = `${x}%`;
  mark.style.top = `${y}%`;
}

function movePen([dx, dy]) {
  const inside = (value) => Math.max(PEN_WIDTH / 2, Math.min(pad.width - PEN_WIDTH / 2, value));
  const to = [inside(pen[0] + STEP * dx), inside(pen[1] + STEP * dy)];
  if (penIsDown) stroke(pen, to);
  pen = to;
  const [x, y] = pen.map((value) => Math.round((100 * value) / pad.width));
  pad.setAttribute("aria-label", `Drawing area. Pen ${penIsDown ? "down" : "up"} at ${x} %, ${y} %.`);
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pressKey(event) {
  const { key } = event;
  if (key !== "Delete" && key !== "Backspace" && key !== " " && !MOVES[key]) return;
  event.preventDefault();
  if (key === "Delete" || key === "Backspace") {
    clear();
    return;
  }
  pen = pen || [pad.width / 2, pad.height / 4];
  if (key === " ") {
    penIsDown = !penIsDown;
    if (penIsDown) stroke(pen, pen);
  } else {
    movePen(MOVES[key]);
  }
  showPen();
}

function listen() {
  let from = null;
  pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); from = position(e); stroke(from, from); });
  pad.addEventListener("pointermove", (e) => {
    if (!from) return;
    for (const point of e.getCoalescedEvents?.() || [e]) {
      const to = position(point);
      stroke(from, to);
      from = to;
    }
  });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { from = null; send(); });
  pad.addEventListener("keydown", pressKey);
  $("clear").addEventListener("click", clear);
  $("file").addEventListener("change", (e) => { open(e.target.files[0]); e.target.value = ""; });
  const input = $("image");
  document.addEventListener("dragover", (e) => { e.preventDefault(); input.classList.add("over"); });
  document.addEventListener("dragleave", () => input.classList.remove("over"));
  document.addEventListener("drop", (e) => { e.preventDefault(); input.classList.remove("over"); open(e.dataTransfer.files[0]); });
}

function buildExample(example) {
  const button = exampleButton(`Try a validation image of class ${example.label}`, () => tryExample(example, button));
  const image = element("img");
  image.src = example.png;
  image.alt = "";
  button.append(image);
  return button;
}
