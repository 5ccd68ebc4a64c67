// Files that are dragged over the window: a cover says what will happen, a drop opens the file. Only
// while Explore is the page that is shown: the Train page has a zone of its own.

/** Covers the page with `cover` while files are over it; `take(file)` gets what was dropped. */
export function listenDrop({ cover, isShown, take }) {
  const on = (type, handler) => {
    window.addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault(); // else the browser would leave for the file, on whatever page
      handler(event);
    });
  };
  const show = () => (cover.hidden = !isShown());
  on("dragenter", show);
  on("dragover", show);
  on("dragleave", (event) => {
    if (event.relatedTarget === null) cover.hidden = true; // out of the window, not to a neighbour
  });
  on("drop", (event) => {
    cover.hidden = true;
    if (isShown()) take(event.dataTransfer.files[0]);
  });
}
