// The page: a form for an input, and the answers of the models to it.
import { Answers } from "/answers.js";
import { $ } from "/dom.js";
import { ImageForm } from "/image.js";
import { Sender } from "/requests.js";
import { TableForm } from "/table.js";
import { TextForm } from "/text.js";

const FORMS = { image: ImageForm, text: TextForm, table: TableForm };
const INVITATIONS = { image: "Draw an example of", text: "Write a text like those of", table: "Fill in a row of" };

const TRUTHS = { classes: "True label", labels: "True labels", values: "True values" };

function showError(message) {
  $("error").textContent = message || "";
  $("error").hidden = !message;
}

async function start() {
  const facts = await (await fetch("/facts")).json();
  const { kind } = facts.input;
  const roles = facts.models.map((model) => model.role);
  const names = `${roles.slice(0, -1).join(", ")}${roles.length > 1 ? " and " : ""}${roles.at(-1)}`;
  $("about").textContent =
    `${INVITATIONS[kind]} ${facts.data}. ${names[0].toUpperCase()}${names.slice(1)} answer${roles.length > 1 ? " side by side" : "s"}. ` +
    "Nothing leaves this machine.";
  $("note").textContent = facts.note;
  $("note").hidden = !facts.note;
  const answers = new Answers(facts);
  const sender = new Sender(
    (answer, path) => {
      showError("");
      form.showAnswer(answer, path);
      answers.set(answer.outputs);
    },
    (message, field) => {
      showError(message);
      form.showError(field);
      if (kind !== "image") answers.set(null);
    },
  );
  // clear() forgets the input and its answers; truth is what an example's label is called.
  const form = new FORMS[kind](facts.input, {
    send: (path, body) => sender.send(path, body),
    clear: () => { sender.clear(); answers.set(null); showError(""); },
    truth: TRUTHS[facts.outputs],
  });
  $(kind).hidden = false;
}

start();
