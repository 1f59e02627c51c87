"use strict";

(function tabs() {
  const all = Array.from(document.querySelectorAll('[role="tab"]'));
  function choose(tab, focus) {
    for (const other of all) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
    }
    if (focus) tab.focus();
  }
  all.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(tab, false));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose(all[(place + step + all.length) % all.length], true);
    });
  });
})();

(function viewer() {
  const holder = document.getElementById("shots");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const at = (id) => document.getElementById(id);
  const stage = at("stage"), handle = at("handle");
  const state = { a: data.films[0].name, b: data.films[data.first].name, view: data.views[0], frame: data.frames[data.frames.length - 1] };

  function show() {
    for (const side of ["a", "b"]) {
      const film = data.films.find((each) => each.name === state[side]);
      const shot = data.shots[film.name][state.view][state.frame];
      const picture = at("picture-" + side);
      picture.src = shot.picture;
      picture.alt = film.name + ", " + state.view + ", frame " + state.frame;
      at("caption-" + side).textContent = film.label + (shot.decibels === null ? "" : ", " + shot.decibels.toFixed(1) + " dB here");
    }
    for (const button of document.querySelectorAll("#views button, #frames button"))
      button.setAttribute("aria-pressed", String(button.dataset.value === String(state[button.dataset.field])));
  }

  function move(per_cent) {
    const place = Math.min(100, Math.max(0, per_cent));
    stage.style.setProperty("--place", place + "%");
    handle.setAttribute("aria-valuenow", String(Math.round(place)));
  }

  function follow(event) {
    const box = stage.getBoundingClientRect();
    move((100 * (event.clientX - box.left)) / box.width);
  }

  for (const side of ["a", "b"]) {
    const select = at("film-" + side);
    for (const film of data.films) select.add(new Option(film.name, film.name, false, film.name === state[side]));
    select.addEventListener("change", () => { state[side] = select.value; show(); });
  }
  for (const [field, values] of [["view", data.views], ["frame", data.frames]]) {
    for (const value of values) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = field === "frame" ? "frame " + value : value;
      button.dataset.field = field;
      button.dataset.value = value;
      button.addEventListener("click", () => { state[field] = value; show(); });
      at(field + "s").append(button);
    }
  }
  stage.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) follow(event); });
  handle.addEventListener("keydown", (event) => {
    const now = Number(handle.getAttribute("aria-valuenow"));
    const to = { ArrowLeft: now - 2, ArrowDown: now - 2, ArrowRight: now + 2, ArrowUp: now + 2, PageDown: now - 20, PageUp: now + 20, Home: 0, End: 100 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  });
  at("difference").addEventListener("change", (event) => stage.classList.toggle("difference", event.target.checked));
  move(50);
  show();
})();
