// Elements of the page.
export const $ = (id) => document.getElementById(id);

export function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

// A button that tries an example. It starts with a label for screen readers, and no content.
export function exampleButton(label, onPress) {
  const button = element("button");
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", label);
  button.addEventListener("click", onPress);
  return button;
}

// Mark the example that is shown, or none.
export function markExample(box, button) {
  for (const other of box.children) other.setAttribute("aria-pressed", String(other === button));
}
