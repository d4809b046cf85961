// Cards with the answers of the models: probabilities of classes at the temperature of the slider,
// probabilities of labels with their thresholds, values, or the nearest texts of embeddings.
import { $, element } from "/dom.js";

const MAX_CLASSES = 20; // bars of a card; with more classes, the most likely ones are shown

const temperature = () => 20 ** ($("temperature").value / 100);
const sigmoid = (score, t) => 1 / (1 + Math.exp(-score / t));
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

function softmax(scores, t) {
  const largest = Math.max(...scores);
  const odds = scores.map((score) => Math.exp((score - largest) / t));
  const sum = odds.reduce((a, b) => a + b, 0);
  return odds.map((odd) => odd / sum);
}

// Four significant digits, without exponents for usual numbers.
function number(value) {
  const isUsual = value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e7);
  return isUsual ? String(Number(value.toPrecision(4))) : value.toExponential(3);
}

// What a card shows for the outputs of a model: a title, and a bar for each class, label or target.
const VIEWS = {
  classes(facts, scores) {
    const shares = softmax(scores, temperature());
    const best = shares.indexOf(Math.max(...shares));
    const order = facts.classes.map((_, k) => k);
    if (order.length > MAX_CLASSES) order.sort((a, b) => shares[b] - shares[a]);
    const bars = order.map((k) => ({ name: facts.classes[k], share: shares[k], text: percent(shares[k]), isBest: k === best }));
    return { title: facts.classes[best], bars };
  },
  labels(facts, scores, model) {
    const t = temperature();
    const applies = scores.map((score, k) => score >= model.thresholds[k]);
    const order = facts.classes.map((_, k) => k);
    if (order.length > MAX_CLASSES) order.sort((a, b) => scores[b] - model.thresholds[b] - scores[a] + model.thresholds[a]);
    const bars = order.map((k) => {
      const mark = sigmoid(model.thresholds[k], t);
      const share = sigmoid(scores[k], t);
      return { name: facts.classes[k], share, mark, text: `${percent(share)}, from ${percent(mark)}`, isBest: applies[k] };
    });
    return { title: facts.classes.filter((_, k) => applies[k]).join(", ") || "no label", bars };
  },
  values(facts, scores) {
    const [low, high] = facts.ranges;
    const bars = scores.map((value, k) => {
      const place = (value - low[k]) / (high[k] - low[k] || 1);
      return { name: facts.classes[k], share: Math.max(0, Math.min(1, place)), text: number(value) };
    });
    return { title: scores.length === 1 ? number(scores[0]) : "", bars };
  },
  vectors(facts, neighbours, model, expected) {
    const wanted = new Set((expected || []).map(([row]) => row));
    const bars = neighbours.map(([row, cosine]) => (
      { name: facts.texts[row], share: Math.max(0, cosine), text: cosine.toFixed(2), isBest: wanted.has(row) }
    ));
    const shared = bars.filter((bar) => bar.isBest).length;
    const isTeacher = model.role === "teacher" || !expected;
    return { title: isTeacher ? "nearest texts" : `${shared} of the teacher's ${wanted.size}`, bars };
  },
};

const EXPLANATIONS = {
  classes:
    "At T = 1 the bars show the probabilities. A higher T softens them and reveals which other classes a model considers a little " +
    "likely. The student learned from these soft targets of the teacher, the control did not.",
  labels:
    "At T = 1 the bars show the probability of each label, and the lines the probability from which it is predicted, fitted on the " +
    "validation split. A higher T softens both.",
  values: "Values are in the unit of the labels. An empty bar is the lowest label of the training split, a full bar the highest.",
  vectors:
    "The texts of the validation split that are nearest to yours, with the cosine of their vectors. Those that the teacher finds, too, " +
    "are bold. The student learned from the teacher's vectors, the control from texts alone.",
};

export class Answers {
  constructor(facts) {
    this.facts = facts;
    this.outputs = null; // of each model
    this.teacher = facts.models.findIndex((model) => model.role === "teacher");
    const isSearch = facts.outputs === "vectors";
    this.names = isSearch ? Array(facts.neighbours).fill("") : facts.classes.slice(0, MAX_CLASSES);
    $("models").append(...facts.models.map((model) => this.buildCard(model)));
    $("models").classList.add(facts.outputs);
    $("explanation").textContent = EXPLANATIONS[facts.outputs];
    $("slider").hidden = ["values", "vectors"].includes(facts.outputs);
    $("temperature").addEventListener("input", () => this.show());
    this.show();
  }

  set(outputs) {
    this.outputs = outputs;
    this.show();
  }

  show() {
    $("value").textContent = temperature().toFixed(1);
    this.facts.models.forEach((model, k) => this.showCard($("models").children[k], model, this.outputs && this.outputs[k]));
  }

  showCard(card, model, scores) {
    const view = scores && VIEWS[this.facts.outputs](this.facts, scores, model, this.outputs[this.teacher]);
    card.querySelector(".top").textContent = view ? view.title : "–";
    card.querySelectorAll(".bar").forEach((bar, rank) => {
      const entry = view && view.bars[rank] || { name: this.names[rank], share: 0, text: "" };
      bar.firstChild.textContent = bar.firstChild.title = entry.name;
      bar.querySelector("i").style.transform = `scaleX(${entry.share})`;
      bar.querySelector("small").textContent = entry.text;
      bar.classList.toggle("best", Boolean(entry.isBest));
      const mark = bar.querySelector("b");
      mark.hidden = entry.mark === undefined;
      if (!mark.hidden) mark.style.left = `${100 * entry.mark}%`;
    });
  }

  buildCard(model) {
    const card = element("article", "", `model ${model.role}`);
    card.style.setProperty("--model", `var(--${model.colour})`); // as in the report
    const title = element("h2", model.role);
    if (model.name !== model.role) title.append(element("b", ` ${model.name}`));
    const bars = element("div", "", "bars");
    card.append(title, element("p", model.description), element("p", "", "top"), bars);
    for (const name of this.names) {
      const bar = element("div", "", "bar");
      const label = element("span", name);
      label.title = name;
      const track = element("div");
      track.append(element("i"), element("b"));
      bar.append(label, track, element("small"));
      bars.append(bar);
    }
    return card;
  }
}
