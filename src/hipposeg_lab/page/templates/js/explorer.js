// The explorer: which case and model are looked at, where, and what is drawn; every control, in one place.
if (Volumes.index && document.getElementById("viewer")) {
  const { cases, models, rules, rows, planes } = Volumes.index;
  const by = (id) => document.getElementById(id);
  const state = { number: 0, model: 0, cross: [0, 0, 0] };
  const panes = [...document.querySelectorAll("#viewer [data-axis]")].map((pane) => ({
    axis: Number(pane.dataset.axis),
    canvas: pane.querySelector("canvas"),
    slider: pane.querySelector("input"),
    name: pane.querySelector(".pane-name"),
  }));
  const numbered = (number) => String(cases[number].case).padStart(3, "0");
  const shows = () => ({ truth: by("v-truth").checked, mask: by("v-mask").checked, wrong: by("v-wrong").checked });
  let volume = null, solid = false, meshed = "";

  const drawSlices = () => {
    for (const { axis, canvas, slider, name } of panes) {
      const text = `${planes[axis].name}, slice ${state.cross[axis] + 1} of ${volume.shape[axis]}`;
      slider.max = volume.shape[axis] - 1;
      slider.value = state.cross[axis];
      slider.setAttribute("aria-valuetext", text);
      name.textContent = text;
      canvas.setAttribute("aria-label", `${text}, of case ${numbered(state.number)}`);
      Slices.draw(canvas, volume, { axis, cross: state.cross, model: state.model, show: shows() });
    }
  };

  const drawSurface = () => {
    if (!solid) return;
    const { truth, mask } = shows();
    const key = [state.number, state.model, truth, mask].join();
    if (key === meshed) return;
    meshed = key;
    const sides = [truth && volume.masks[0], mask && volume.masks[1 + state.model]];
    const made = sides.map((one) => one && Mesh.surfaces(one, volume.shape));
    Surface.show(made);
    by("v-surface").nextElementSibling.querySelector(".pane-name").textContent =
      `surface: ${truth && mask ? "expert left, model right" : truth ? "expert" : mask ? "model" : "nothing chosen"}`;
  };

  const showScores = () => {
    const found = cases[state.number].scores[state.model];
    by("v-scores").tBodies[0].replaceChildren(...rows.map((row, index) => {
      const line = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = row;
      line.append(head, ...found[index].map((text) => Object.assign(document.createElement("td"), { textContent: text })));
      return line;
    }));
    const { person, case: number } = cases[state.number];
    const rule = Object.entries(rules).find(([, one]) => one === number);
    by("v-text").textContent = `Case ${numbered(state.number)}, person ${person}${rule ? `, the ${rule[0]} one of ${models[0].model}` : ""}. ` +
      `Model ${models[state.model].model}: ${models[state.model].text}. ${cases[state.number].words[state.model]}`;
    for (const button of by("v-rules").children) button.setAttribute("aria-pressed", String(Number(button.value) === number));
  };

  // The voxel with most truth around it: the fullest slice of each plane.
  const fullest = ({ shape, masks }) => shape.map((size, axis) => {
    const { width, height } = Slices.cut(shape, axis, 0);
    let [best, most] = [size >> 1, 0];
    for (let at = 0; at < size; at++) {
      const { index } = Slices.cut(shape, axis, at);
      let found = 0;
      for (let h = 0; h < width; h++) for (let v = 0; v < height; v++) found += masks[0][index(h, v)] > 0;
      if (found > most) [best, most] = [at, found];
    }
    return best;
  });

  const choose = async (number) => {
    state.number = (number + cases.length) % cases.length;
    by("v-case").value = state.number;
    const wanted = state.number;
    const loaded = await Volumes.load(wanted);
    if (wanted !== state.number) return; // another case was chosen meanwhile
    volume = loaded;
    state.cross = fullest(volume);
    redraw();
  };
  const redraw = () => { if (volume) { drawSlices(); drawSurface(); showScores(); } };

  cases.forEach((_, number) => by("v-case").add(new Option(numbered(number), number)));
  models.forEach(({ model }, index) => by("v-model").add(new Option(model, index)));
  for (const [rule, number] of Object.entries(rules)) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: rule, value: number });
    button.addEventListener("click", () => choose(cases.findIndex((one) => one.case === number)));
    by("v-rules").append(button);
  }
  by("v-case").addEventListener("change", () => choose(Number(by("v-case").value)));
  by("v-before").addEventListener("click", () => choose(state.number - 1));
  by("v-after").addEventListener("click", () => choose(state.number + 1));
  by("v-model").addEventListener("change", () => { state.model = Number(by("v-model").value); redraw(); });
  for (const id of ["v-truth", "v-mask", "v-wrong"]) by(id).addEventListener("change", redraw);
  for (const { axis, canvas, slider } of panes) {
    slider.addEventListener("input", () => { state.cross[axis] = Number(slider.value); drawSlices(); });
    const point = (event) => {
      if (!volume || (event.type === "pointermove" && !event.buttons)) return;
      Object.assign(state.cross, Slices.under(canvas, event));
      drawSlices();
    };
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("mousedown", (event) => {
      event.preventDefault(); // which would take the focus away again
      slider.focus({ preventScroll: true });
    });
    // The wheel scrolls the page until the slice is pressed or its slider reached: what has the focus takes the wheel.
    canvas.parentElement.addEventListener("wheel", (event) => {
      if (!volume || document.activeElement !== slider || !event.deltaY) return;
      event.preventDefault();
      slider.stepDown(Math.sign(event.deltaY));
      slider.dispatchEvent(new Event("input"));
    }, { passive: false });
    canvas.addEventListener("pointermove", point);
  }
  document.addEventListener("open-case", ({ detail }) => {
    choose(cases.findIndex((one) => one.case === detail));
    by("explorer").scrollIntoView();
  });
  addEventListener("resize", () => { if (volume) { drawSlices(); if (solid) Surface.draw(); } });

  // Nothing is unpacked before the explorer comes near.
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    if (typeof DecompressionStream === "undefined") {
      by("v-text").textContent = "This browser cannot unpack the volumes (it has no DecompressionStream). Any browser of 2023 or newer can.";
      return;
    }
    Surface.start(by("v-surface")).then((can) => {
      solid = can;
      if (!can) by("v-surface").nextElementSibling.textContent = "This browser offers no WebGL, so surfaces are not drawn.";
      else Surface.listen(document.querySelectorAll("[data-turn]"));
      if (volume) drawSurface();
    });
    const median = cases.findIndex((one) => one.case === rules.median);
    if (!volume) choose(Math.max(0, median));
  }, { rootMargin: "600px" });
  near.observe(by("viewer"));
}
