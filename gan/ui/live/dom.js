// Writing to the page while a hand moves or a keyboard is somewhere in it.

/** Gives an element these properties; those that it has already are left alone. (Measured on
 * Explore: the same text written once more throws away what was laid out, 2.2 ms of every move.) */
export function put(node, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (node[name] !== value) node[name] = value;
  }
}

const CONTROLS = "button, input, select";

/** Rebuilds what `root` holds; a control that had the keyboard's focus has it afterwards again. */
export function keepingFocus(root, rebuild) {
  const held = root.contains(document.activeElement) ? document.activeElement : null;
  const place = held?.parentElement.closest("[id]");
  const index = place ? [...place.querySelectorAll(CONTROLS)].indexOf(held) : -1;
  rebuild();
  if (index >= 0 && !held.isConnected) place.querySelectorAll(CONTROLS)[index]?.focus();
}

/** → what does a deed at once; or, while a press is going on in `root`, when that has become a
 * click: what is rebuilt between press and release loses the click. Of several the last is done.
 * A press that becomes none is over `patience` milliseconds after its end. */
export function betweenPresses(root, patience = 300) {
  let isPressed = false;
  let late = null;
  let timer = 0;
  const settle = () => {
    clearTimeout(timer);
    isPressed = false;
    late?.();
    late = null;
  };
  root.addEventListener("pointerdown", ({ button }) => {
    if (button !== 0) return;
    clearTimeout(timer);
    isPressed = true;
  });
  root.addEventListener("click", settle); // after what was pressed has heard it
  for (const end of ["pointerup", "pointercancel", "blur"]) {
    window.addEventListener(end, () => isPressed && (timer = setTimeout(settle, patience)));
  }
  return (deed) => (isPressed ? void (late = deed) : deed());
}

/** A new element: <tag class="className">text</tag>. */
export function make(tag, className = "", text = "") {
  const node = Object.assign(document.createElement(tag), { className });
  if (text !== "") node.textContent = text;
  return node;
}

/** Writes a command whose lines break between its words only: a browser breaks after "--", too. */
export function putCommand(node, command) {
  if (node.textContent === command) return;
  const words = command.split(" ").map((word) => make("span", "", word));
  node.replaceChildren(...words.flatMap((word, i) => (i ? [" ", word] : [word])));
}
