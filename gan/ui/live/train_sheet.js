// The sheet of samples: one picture at a time on a canvas, changed without a flicker.

const REMEMBERED = 90; // decoded sheets: a whole timeline plays without a request
const CRISP = 160; // pixels: smaller sheets are shown as crisp pixels

export function createSheet(canvas) {
  const context = canvas.getContext("2d");
  const images = new Map(); // source → promise of a decoded image
  let wanted = null;

  function load(source) {
    if (!images.has(source)) {
      const image = new Image();
      image.src = source;
      images.set(
        source,
        image.decode().then(() => image),
      );
      images.get(source).catch(() => images.delete(source));
      if (images.size > REMEMBERED) images.delete(images.keys().next().value);
    }
    return images.get(source);
  }

  return {
    /** Paints the picture once it is there, unless another one is wanted by then. */
    async show(source) {
      wanted = source;
      const image = await load(source).catch(() => null);
      if (!image || wanted !== source) return;
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      canvas.classList.toggle("crisp", image.naturalWidth <= CRISP);
      context.drawImage(image, 0, 0);
    },
    preload: (source) => void load(source).catch(() => {}),
    clear() {
      wanted = null;
      canvas.width = canvas.height = 8;
    },
  };
}
