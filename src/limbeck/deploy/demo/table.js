// A field for each column of a table, answered at every change.
import { $, element, exampleButton, markExample } from "/dom.js";

const DELAY = 200; // milliseconds without a key after which a row is sent

export class TableForm {
  constructor(facts, { send, truth }) {
    this.facts = facts;
    this.send = send;
    this.truth = truth;
    this.timer = 0;
    this.fields = facts.columns.map((column, number) => this.buildField(column, number));
    facts.examples.forEach((example, number) => {
      const button = exampleButton(`Fill in validation row ${number + 1}, whose label is ${example.label}`, () => this.fill(example, button));
      button.textContent = String(number + 1);
      $("row-examples").append(button);
    });
    $("clear-row").addEventListener("click", () => {
      for (const field of this.fields) field.value = "";
      this.change();
    });
    const first = $("row-examples").firstChild;
    if (first) this.fill(facts.examples[0], first);
  }

  buildField(column, number) {
    const field = element(column.categories ? "select" : "input");
    field.id = `column-${number}`;
    if (column.categories) {
      field.append(new Option("missing", ""), ...column.categories.map((name, code) => new Option(name, String(code))));
    } else {
      field.inputMode = "decimal";
      field.autocomplete = "off";
      field.placeholder = "missing";
    }
    field.addEventListener("input", () => this.change());
    const label = element("label", column.name);
    label.htmlFor = field.id;
    label.title = column.name;
    const box = element("div", "", "field");
    box.append(label, field);
    $("fields").append(box);
    return field;
  }

  fill(example, button) {
    this.fields.forEach((field, k) => { field.value = example.cells[k]; });
    this.mark(button, example.label);
    this.ask();
  }

  change() {
    this.mark(null);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), DELAY);
  }

  ask() {
    clearTimeout(this.timer);
    this.send("/row", JSON.stringify(this.fields.map((field) => field.value)));
  }

  mark(button, label = "") {
    markExample($("row-examples"), button);
    $("row-label").textContent = label && `${this.truth}: ${label}`;
  }

  showAnswer() {
    this.showError(null);
  }

  showError(number) {
    this.fields.forEach((field, k) => {
      if (k === number) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    });
  }
}
