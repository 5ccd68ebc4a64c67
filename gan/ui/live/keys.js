// The page's keys: letters work anywhere on Explore but where a person types or a dialog is open,
// arrows on the picture alone, because elsewhere they belong to sliders and to scrolling.

const TYPED_IN = "input:not([type=range], [type=radio]), textarea, select, [contenteditable]";
const REPEATING = ["z", "y", "r", "arrowleft", "arrowright", "arrowup", "arrowdown"]; // held
const STEPS = ["ArrowUp", "ArrowDown"]; // of a number's value; the others move its caret
const SLIDES = [...STEPS, "ArrowLeft", "ArrowRight", "PageUp", "PageDown"];

/** What a key means where it was pressed: the name of a deed, or null.
 * `where`: {isShown, isTyping, isInDialog, isAtPicture}. */
export function meaningOf(event, where) {
  const key = event.key.toLowerCase();
  if (!where.isShown || where.isInDialog || where.isTyping) return null;
  if (event.repeat && !REPEATING.includes(key)) return null;
  if (event.altKey) return null;
  if (event.ctrlKey || event.metaKey) {
    if (key === "y" || (key === "z" && event.shiftKey)) return "redo";
    return key === "z" ? "undo" : null;
  }
  if (key.startsWith("arrow")) return where.isAtPicture ? key : null;
  return /^[a-z]$/.test(key) ? key : null;
}

/** Calls `does[meaning](event)` for keys; Escape is `does.escape`. */
export function listenKeys(picture, isShown, does) {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return void does.escape();
    const target = event.target;
    const meaning = meaningOf(event, {
      isShown: isShown(),
      isTyping: Boolean(target.closest?.(TYPED_IN)),
      isInDialog: document.querySelector("dialog[open]") !== null,
      isAtPicture: target === picture,
    });
    const deed = meaning && does[meaning];
    if (!deed) return;
    event.preventDefault();
    deed(event);
  });
}

/** Calls `settle(event)` when a value was chosen in `input`: once for a key that is held, which
 * changes it many times. */
export function onChosen(input, settle) {
  const keys = input.type === "range" ? SLIDES : STEPS;
  let isHeld = false;
  input.addEventListener("keydown", (event) => (isHeld ||= keys.includes(event.key)));
  const release = (event) => {
    if (isHeld) settle(event);
    isHeld = false;
  };
  input.addEventListener("keyup", release);
  input.addEventListener("blur", release);
  input.addEventListener("change", (event) => {
    if (!isHeld) settle(event);
  });
}
