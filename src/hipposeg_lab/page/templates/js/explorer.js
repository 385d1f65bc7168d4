// The picture that takes the wheel: entered by a double-click or Enter, left by Escape or with the pointer.
const Entered = {
  at: null,
  has(canvas) { return this.at === canvas; },
  go(canvas) {
    this.at?.classList.remove("entered");
    this.at = canvas;
    canvas?.classList.add("entered");
  },
  listen(canvas, focused = canvas) {
    canvas.addEventListener("dblclick", () => this.go(canvas));
    canvas.addEventListener("pointerleave", () => { if (this.has(canvas)) this.go(null); });
    focused.addEventListener("keydown", ({ key }) => { if (key === "Enter") this.go(canvas); else if (key === "Escape") this.go(null); });
  },
};

// The explorer: which case and model are looked at, where, and what is drawn; every control, in one place.
// lesson: what a network drew during its training, {mask, epoch, dice}, or null.
const Explorer = { volume: null, number: 0, model: 0, cross: [0, 0, 0], lesson: null };
if (Volumes.index && document.getElementById("viewer")) {
  const { cases, models, rules, rows, planes, learning } = Volumes.index;
  const by = (id) => document.getElementById(id);
  const panes = [...document.querySelectorAll("#viewer [data-axis]")].map((pane) => ({
    axis: Number(pane.dataset.axis),
    canvas: pane.querySelector("canvas"),
    slider: pane.querySelector("input"),
    name: pane.querySelector(".pane-name"),
  }));
  const numbered = (number) => String(cases[number].case).padStart(3, "0");
  const mask = () => Explorer.lesson?.mask ?? Explorer.volume.masks[models[Explorer.model].mask];
  let solid = false, meshed = "", hidden = false, drawn = Promise.resolve();
  const shows = () => ({
    truth: by("v-truth").checked && !hidden, mask: by("v-mask").checked && !hidden,
    wrong: by("v-wrong").checked && !hidden, opacity: by("v-opacity").value / 100,
  });

  const drawSlices = () => {
    const { volume, cross, number } = Explorer;
    for (const { axis, canvas, slider, name } of panes) {
      const text = `${planes[axis].name}, ${cross[axis] + 1} of ${volume.shape[axis]}`;
      slider.max = volume.shape[axis] - 1;
      slider.value = cross[axis];
      slider.setAttribute("aria-valuetext", text);
      name.textContent = text;
      canvas.setAttribute("aria-label", `Slice ${text}, of case ${numbered(number)}`);
      Slices.draw(canvas, volume, { axis, cross, mask: mask(), show: shows() });
    }
    document.querySelector("#viewer .errors-key").hidden = !by("v-wrong").checked;
  };

  const drawSurface = async () => {
    if (!solid) return;
    const { volume, number, model } = Explorer;
    const [truth, own, wrong] = ["v-truth", "v-mask", "v-wrong"].map((id) => by(id).checked);
    const key = [number, model, Explorer.lesson?.epoch, truth, own, wrong].join();
    if (key === meshed) return;
    meshed = key;
    const masks = [volume.masks[0].slice(), mask().slice()];
    const made = await (drawn = drawn.then(() => Mesh.apart({ masks, shown: [truth, own], wrong, shape: volume.shape })));
    if (key !== meshed) return; // something else was chosen meanwhile
    Surface.show(made);
    by("v-surface").nextElementSibling.querySelector(".pane-name").textContent =
      truth && own ? "expert left, model right" : truth ? "expert" : own ? "model" : "nothing chosen";
  };

  const showScores = () => {
    const { number, model, lesson } = Explorer, one = cases[number], found = one.scores[model];
    by("v-scores").tBodies[0].replaceChildren(...rows.map((row, index) => {
      const line = document.createElement("tr");
      const head = Object.assign(document.createElement("th"), { scope: "row", textContent: row });
      line.append(head, ...found[index].map((text) => Object.assign(document.createElement("td"), { textContent: text })));
      return line;
    }));
    const rule = Object.entries(rules).find(([, at]) => at === one.case);
    const [mean, whole] = [found[rows.indexOf("mean")], found[rows.indexOf("union")]];
    by("v-text").textContent = `Case ${numbered(number)} of the first fold${rule ? `, the ${rule[0]} of ${models[0].name}` : ""}. ` +
      `${models[model].name}: Dice ${mean[0]}, volume ${whole[4]} mm³ (expert ${whole[3]}). ${one.words[model]}`;
    if (lesson) by("v-text").textContent = `Case ${numbered(number)} of the first fold. ${learning.name} after epoch ${lesson.epoch} of its training: mean Dice ${lesson.dice}.`;
    by("v-model").title = models[model].title;
    for (const button of by("v-rules").querySelectorAll("button")) button.setAttribute("aria-pressed", String(Number(button.value) === one.case));
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

  const idle = (work) => (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 1500 }) : setTimeout(work, 200));
  const near = (number) => (number + cases.length) % cases.length;
  const choose = async (number) => {
    const wanted = Explorer.number = near(number);
    by("v-case").value = wanted;
    const loaded = await Volumes.load(wanted);
    if (wanted !== Explorer.number) return; // another case was chosen meanwhile
    Explorer.volume = loaded;
    Explorer.cross = fullest(loaded);
    forget();
    redraw();
    idle(() => { Volumes.load(near(wanted + 1)); Volumes.load(near(wanted - 1)); });
  };
  const redraw = () => { if (Explorer.volume) { drawSlices(); showScores(); setTimeout(drawSurface); } };

  cases.forEach((_, number) => by("v-case").add(new Option(numbered(number), number)));
  models.forEach(({ title }, index) => by("v-model").add(new Option(title, index)));
  by("v-rules-of").textContent = `By Dice of ${models[0].name}:`;
  for (const [rule, number] of Object.entries(rules)) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: rule, value: number });
    button.addEventListener("click", () => choose(cases.findIndex((one) => one.case === number)));
    by("v-rules").append(button);
  }
  by("v-case").addEventListener("change", () => choose(Number(by("v-case").value)));
  by("v-before").addEventListener("click", () => choose(Explorer.number - 1));
  by("v-after").addEventListener("click", () => choose(Explorer.number + 1));
  by("v-model").addEventListener("change", () => { Explorer.model = Number(by("v-model").value); forget(); redraw(); });
  for (const id of ["v-truth", "v-mask", "v-wrong"]) by(id).addEventListener("change", redraw);
  by("v-opacity").addEventListener("input", () => { if (Explorer.volume) drawSlices(); });

  // Back from the lesson to the chosen model; the slider returns to the end of the training.
  const forget = () => {
    Explorer.lesson = null;
    if (by("v-epoch")) by("v-epoch").value = by("v-epoch").max;
  };

  // "Watch it learn": one case, outlined by a network after more and more epochs.
  let stages = null;
  by("v-epoch")?.addEventListener("input", async () => {
    const at = Number(by("v-epoch").value), number = cases.findIndex((one) => one.case === learning.case);
    if (!Explorer.volume || Explorer.number !== number) {
      await choose(number);
      by("v-epoch").value = at;
    }
    stages ??= await Volumes.masks(learning.masks, Explorer.volume.masks[0].length);
    if (Explorer.number !== number || at !== Number(by("v-epoch").value)) return; // moved on meanwhile
    Explorer.lesson = { mask: stages[at], epoch: learning.epochs[at], dice: learning.dice[at] };
    by("v-epoch").setAttribute("aria-valuetext", `epoch ${learning.epochs[at]}`);
    redraw();
  });

  // Outlines hide the border that they claim: a button and a key take them away for as long as they are held.
  const hide = (now) => { if (hidden !== now && Explorer.volume) { hidden = now; drawSlices(); } };
  const typing = ({ target, altKey, ctrlKey, metaKey }) => target.matches("input[type=search], textarea") || altKey || ctrlKey || metaKey;
  addEventListener("keydown", (event) => { if (event.key.toLowerCase() === "b" && !typing(event)) hide(true); });
  addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") hide(false); });
  addEventListener("blur", () => hide(false));
  for (const [event, now] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false], ["pointercancel", false]]) by("v-blink").addEventListener(event, () => hide(now));
  by("v-blink").addEventListener("keydown", ({ key }) => { if (key === " " || key === "Enter") hide(true); });
  by("v-blink").addEventListener("keyup", () => hide(false));

  for (const { axis, canvas, slider } of panes) {
    slider.addEventListener("input", () => { Explorer.cross[axis] = Number(slider.value); drawSlices(); });
    const point = (event) => {
      if (!Explorer.volume || (event.type === "pointermove" && !event.buttons)) return;
      Object.assign(Explorer.cross, Slices.under(canvas, event));
      drawSlices();
    };
    for (const event of ["pointerdown", "pointermove"]) canvas.addEventListener(event, point);
    Entered.listen(canvas, slider);
    canvas.addEventListener("wheel", (event) => {
      if (!Entered.has(canvas) || !event.deltaY) return;
      event.preventDefault();
      slider.stepDown(Math.sign(event.deltaY));
      slider.dispatchEvent(new Event("input"));
    }, { passive: false });
  }
  Entered.listen(by("v-surface"));
  document.addEventListener("open-case", ({ detail }) => {
    choose(cases.findIndex((one) => one.case === detail));
    by("explorer").scrollIntoView();
  });
  addEventListener("resize", () => { if (Explorer.volume) { drawSlices(); if (solid) Surface.draw(); } });

  // The page is read first; then the median case is unpacked, and last what draws surfaces.
  const begin = async () => {
    if (typeof DecompressionStream === "undefined") {
      by("v-text").textContent = "This browser cannot unpack the volumes (it has no DecompressionStream). Any browser of 2023 or newer can.";
      return;
    }
    await choose(Math.max(0, cases.findIndex((one) => one.case === rules.median)));
    idle(async () => {
      solid = await Surface.start(by("v-surface"));
      if (!solid) by("v-surface").nextElementSibling.textContent = "This browser offers no WebGL, so surfaces are not drawn.";
      else Surface.listen(document.querySelectorAll("[data-turn]"));
      drawSurface();
    });
  };
  idle(begin);
}
