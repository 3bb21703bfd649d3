// What all pages share: forms that need no button, posters that play, charts that wait for lengths.
"use strict";

for (const form of document.querySelectorAll("form[data-submit-on-change]")) {
  const show = () => {
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    location.assign(`${form.action.split("?")[0]}${query.size ? "?" + query : ""}`);
  };
  form.addEventListener("change", (event) => { if (event.target.type !== "search") show(); });
  form.addEventListener("submit", (event) => { event.preventDefault(); show(); });
}

for (const card of document.querySelectorAll("[data-preview]")) {
  const picture = card.querySelector("img"), poster = picture.src;
  let timer = 0;
  const start = () => { clearTimeout(timer); timer = setTimeout(() => { picture.src = card.dataset.preview; }, 120); };
  const end = () => { clearTimeout(timer); if (picture.src !== poster) picture.src = poster; };
  card.addEventListener("pointerenter", start);
  card.addEventListener("focus", start);
  card.addEventListener("pointerleave", end);
  card.addEventListener("blur", end);
}

const waiting = document.querySelector("[data-wait=lengths]");
if (waiting) {
  const look = async (tries) => {
    const state = await (await fetch("/lengths")).json();
    if (!state.done && tries > 0) { setTimeout(look, 1500, tries - 1); return; }
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const now = page.querySelector("#chart-seconds"), before = document.querySelector("#chart-seconds");
    if (now && before) before.replaceWith(document.importNode(now, true));
  };
  setTimeout(look, 800, 200);
}
