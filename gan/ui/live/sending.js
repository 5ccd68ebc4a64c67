// Sends a model file to the server (gan/ui/model_files.py): unlike Gradio's own upload it says how
// far it is, and can be stopped.

import { pathOn } from "./transport.js";

/** → the place at which the server has it. `progress` hears how many bytes are sent; `signal` stops
 * it. Rejects where it is refused, the line is cut, or it was stopped. */
export function sendFile(file, path, { progress, signal }) {
  const request = new XMLHttpRequest();
  const place = pathOn(window.gradio_config.root, path, window.location.href);
  return new Promise((resolve, reject) => {
    const fail = () => reject(new Error(`sending a file: status ${request.status}`));
    signal.addEventListener("abort", () => request.abort());
    request.upload.addEventListener("progress", ({ loaded }) => progress(loaded));
    for (const type of ["abort", "error", "timeout"]) request.addEventListener(type, fail);
    request.addEventListener("load", () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText).path);
      else fail();
    });
    request.open("POST", `${place}?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(file);
  });
}
