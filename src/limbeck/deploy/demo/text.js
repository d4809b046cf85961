// A box for a text, or two boxes for a pair, answered while you type.
import { $, element, exampleButton, markExample } from "/dom.js";

const DELAY = 200; // milliseconds without a key after which a text is sent
const MAX_LABEL = 70; // characters of a text on a button

export class TextForm {
  constructor(facts, { send, clear, truth }) {
    this.facts = facts;
    this.send = send;
    this.clear = clear;
    this.truth = truth;
    this.timer = 0;
    this.boxes = facts.columns.map((column, number) => {
      const box = element("textarea");
      box.id = `text-${number}`;
      box.rows = facts.columns.length === 1 ? 7 : 4;
      box.maxLength = facts.max_characters;
      box.setAttribute("aria-describedby", "tokens");
      box.addEventListener("input", () => { this.mark(null); this.wait(); });
      const label = element("label", facts.columns.length === 1 ? "Text" : column);
      label.htmlFor = box.id;
      $("boxes").append(label, box);
      return box;
    });
    $("clear-text").addEventListener("click", () => {
      for (const box of this.boxes) box.value = "";
      this.mark(null);
      this.ask();
      this.boxes[0].focus();
    });
    $("text-examples-title").hidden = !facts.examples.length;
    for (const example of facts.examples) {
      const button = exampleButton(`Try the validation text: ${example.text.slice(0, MAX_LABEL)}`, () => {
        this.boxes[0].value = example.text;
        this.mark(button, example.label);
        this.ask();
      });
      button.textContent = example.text.length > MAX_LABEL ? `${example.text.slice(0, MAX_LABEL)}…` : example.text;
      $("text-examples").append(button);
    }
  }

  wait() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), DELAY);
  }

  ask() {
    clearTimeout(this.timer);
    const texts = this.boxes.map((box) => box.value);
    if (texts.every((text) => text.trim())) {
      this.send("/text", JSON.stringify(texts));
    } else {
      this.clear();
      $("tokens").textContent = "";
    }
  }

  mark(button, label = "") {
    markExample($("text-examples"), button);
    $("text-label").textContent = label && `${this.truth}: ${label}`;
  }

  showAnswer({ tokens, is_cut: isCut }) {
    const count = `${tokens.toLocaleString("en")} ${tokens === 1 ? "token" : "tokens"}`;
    $("tokens").textContent = isCut ? `The models read the first ${count} of the text.` : `The text has ${count}.`;
  }

  showError() {
    $("tokens").textContent = "";
  }
}
