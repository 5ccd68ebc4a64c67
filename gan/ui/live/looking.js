// Ways of looking at the picture: without its edits while something is held, and over the full screen.

const TOUCH_PAUSE = 150; // milliseconds that a finger rests before it means "compare"
const LONGEST_TAP = 300;

export function createLooking(lab) {
  const { $, stage } = lab;
  const frame = $(".frame");
  const compare = $("[data-hold=compare]");

  // --- without edits -------------------------------------------------------------------------

  function hold(on) {
    stage.hold(on);
    compare.setAttribute("aria-pressed", stage.isHolding());
  }

  function listenHold() {
    for (const target of [compare, $("#lab-picture"), $("#lab-second-picture")]) {
      let timer = 0;
      target.addEventListener("pointerdown", (event) => {
        const pause = event.pointerType === "touch" ? TOUCH_PAUSE : 0; // it may be a scroll
        if (event.button === 0 && !event.target.closest("button:not([data-hold])"))
          timer = setTimeout(() => hold(true), pause);
      });
      for (const type of ["pointerup", "pointercancel", "pointerleave"]) {
        target.addEventListener(type, () => {
          clearTimeout(timer);
          hold(false);
        });
      }
      target.addEventListener("contextmenu", (event) => {
        if (event.pointerType === "touch") return void event.preventDefault(); // a finger that rests
        hold(false);
        event.stopPropagation();
      });
      target.addEventListener("keydown", (event) => {
        if (event.key !== " " || event.target !== target) return;
        event.preventDefault();
        if (!event.repeat) hold(true);
      });
      target.addEventListener("keyup", (event) => {
        if (event.key !== " " || event.target !== target) return;
        event.preventDefault(); // a button would be clicked
        hold(false);
      });
      target.addEventListener("blur", () => hold(false));
    }
    // Enter, or a click that a screen reader makes, has nothing to hold: it switches.
    compare.addEventListener("click", (event) => {
      if (event.detail === 0) hold(!stage.isHolding());
    });
  }

  // --- full screen ---------------------------------------------------------------------------

  /** iPhones have no full screen for this: the frame covers the page instead. */
  const isPretended = () => frame.classList.contains("is-full");

  function toggleFull() {
    if (document.fullscreenElement) return void document.exitFullscreen();
    const pretend = () => frame.classList.toggle("is-full");
    if (!frame.requestFullscreen || isPretended()) pretend();
    else frame.requestFullscreen().catch(pretend);
    $("#lab-picture").focus();
  }

  function leaveFull() {
    frame.classList.remove("is-full");
  }

  /** A tap leads back; a finger that rests compares. */
  function listenTap() {
    let pressed = 0;
    frame.addEventListener("pointerdown", (event) => (pressed = event.timeStamp));
    frame.addEventListener("click", (event) => {
      const isTap = event.timeStamp - pressed < LONGEST_TAP;
      if (isPretended() && isTap && !event.target.closest("button, select, input")) leaveFull();
    });
  }

  function listen() {
    listenHold();
    listenTap();
  }

  return { listen, toggleFull, leaveFull };
}
