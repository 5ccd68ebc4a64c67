// What every page of the app shares: language, light and dark, which page is shown. It runs once,
// from the document's head, before any component; components find it as `window.LatentLab`.
//
// Texts come from Python (gan/locale) as window.LatentLabTexts = {en: {key: text}, zh: {…}}.
// An element says what it shows: data-text="key" (text), data-text-label (aria-label), data-text-title.

const LANGUAGE_KEY = "latent-lab.language";
const THEME_KEY = "latent-lab.theme";
const TAGS = { en: "en", zh: "zh-CN" };

/** The language that a browser with these preferences should see: the first that we have. */
export function chooseLanguage(preferred, known) {
  for (const tag of preferred) {
    const language = tag.toLowerCase().split("-")[0];
    if (known.includes(language)) return language;
  }
  return "en";
}

/** "Seed {seed}" with {seed: 12} → "Seed 12"; a placeholder without a value stays. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all));
}

/** Storage that never throws: a private window or a strict iframe just forgets. */
export const memory = {
  get(key) {
    try {
      return window.localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  /** → was it stored? */
  set(key, value) {
    try {
      window.localStorage.setItem(key, value);
      return true;
    } catch {
      return false;
    }
  },
};

/** Starts the shell and returns what components use of it. */
export function startShell(texts) {
  const root = document.documentElement;
  const known = Object.keys(texts);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const listeners = new Set();
  let language = memory.get(LANGUAGE_KEY);
  if (!known.includes(language)) language = chooseLanguage(navigator.languages, known);

  function t(key, values = {}) {
    const found = texts[language][key] ?? texts.en[key];
    return found === undefined ? key : fill(found, values);
  }

  function translate(element) {
    for (const one of element.querySelectorAll("[data-text]"))
      one.textContent = t(one.dataset.text);
    for (const one of element.querySelectorAll("[data-text-label]")) {
      one.setAttribute("aria-label", t(one.dataset.textLabel));
    }
    for (const one of element.querySelectorAll("[data-text-title]")) {
      one.title = t(one.dataset.textTitle);
      if (!one.textContent.trim()) one.setAttribute("aria-label", one.title);
    }
  }

  function setLanguage(chosen) {
    language = chosen;
    memory.set(LANGUAGE_KEY, chosen);
    announce();
  }

  function announce() {
    root.lang = TAGS[language];
    root.dataset.language = language;
    document.title = t("page.title");
    translate(document);
    for (const listener of listeners) listener(language);
  }

  function theme() {
    const asked = new URLSearchParams(window.location.search).get("__theme");
    const chosen = memory.get(THEME_KEY) ?? asked;
    if (chosen === "dark" || chosen === "light") return chosen;
    return dark.matches ? "dark" : "light";
  }

  function applyTheme() {
    const chosen = theme();
    root.dataset.theme = chosen;
    root.style.colorScheme = chosen;
    const isDark = chosen === "dark";
    if (document.body.classList.contains("dark") !== isDark) {
      document.body.classList.toggle("dark", isDark);
    }
  }

  function toggleTheme() {
    memory.set(THEME_KEY, theme() === "dark" ? "light" : "dark");
    applyTheme();
  }

  function showPage() {
    const pages = [...document.querySelectorAll("nav.pages a")];
    const asked = window.location.hash.slice(1);
    const found = pages.find((link) => link.dataset.page === asked) ?? pages[0];
    root.dataset.page = found?.dataset.page ?? "explore";
    for (const link of pages) {
      if (link === found) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    window.scrollTo(0, 0);
  }

  /** Called by the header when it is on the page. */
  function mountHeader(element) {
    translate(element);
    element.querySelector(".language").addEventListener("click", () => {
      setLanguage(known[(known.indexOf(language) + 1) % known.length]);
    });
    element.querySelector(".theme").addEventListener("click", toggleTheme);
    for (const link of element.querySelectorAll("a[data-page], a.brand")) {
      link.addEventListener("click", (event) => {
        event.preventDefault(); // the document has a <base>: following "#about" would lose the query
        window.location.hash = link.hash;
      });
    }
    showPage();
  }

  window.addEventListener("hashchange", showPage);
  // Inside a Space's iframe Gradio then gives us the visible height, not an endless one, so that
  // 100dvh and sticky mean what they say (looked up in Gradio 6.31; elsewhere it does nothing).
  root.dataset.gradioCover = "";
  dark.addEventListener("change", applyTheme);
  // Gradio sets its own `dark` class while it mounts; the person's choice has the last word.
  new MutationObserver(applyTheme).observe(document.body, { attributeFilter: ["class"] });
  root.dataset.page = "explore";
  applyTheme();
  announce();
  return {
    t,
    translate,
    setLanguage,
    mountHeader,
    memory,
    language: () => language,
    onLanguage: (listener) => listeners.add(listener),
  };
}
