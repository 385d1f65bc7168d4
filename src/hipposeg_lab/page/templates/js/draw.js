// "Draw it yourself": the reader outlines one slice and is scored beside the network, against the expert.
if (Volumes.index && document.getElementById("draw")) {
  const dialog = document.getElementById("draw"), canvas = dialog.querySelector("canvas"), text = document.getElementById("draw-text");
  const AXIS = 0; // the plane in which the hippocampus is longest
  let points = [], drawing = false, done = false, cursor = [0, 0], slice = null;

  const paint = () => {
    const { volume } = Explorer, { width, height, index } = slice;
    const place = Object.assign(Slices.fit(canvas, width, height), slice), paper = canvas.getContext("2d");
    Slices.grey(paper, volume, width, height, index, place);
    if (done) {
      const tints = Volumes.index.labels.map(({ colour }) => rgb(colour));
      Slices.paint(paper, width, height, place, 0.4, (h, v) => tints[volume.masks[0][index(h, v)] - 1]);
      Slices.outlines(paper, network(), width, height, index, place);
    }
    Slices.directions(paper, place);
    const at = ([h, v]) => [place.left + h * place.scale, place.top + (height - v) * place.scale];
    paper.strokeStyle = "#fff";
    paper.lineWidth = 2 * place.ratio;
    paper.beginPath();
    points.forEach((point, number) => (number ? paper.lineTo(...at(point)) : paper.moveTo(...at(point))));
    if (done) paper.closePath();
    paper.stroke();
    if (document.activeElement !== canvas || done) return;
    const [x, y] = at(cursor), arm = 6 * place.ratio;
    paper.strokeRect(x - arm / 2, y - arm / 2, arm, arm);
  };
  const network = () => Explorer.volume.masks[Volumes.index.models[Explorer.model].mask];

  // A point of the slice, in voxels from its low corner, and the other way round.
  const under = ({ offsetX, offsetY }) => {
    const { left, top, scale, ratio, height } = canvas.place;
    return [(offsetX * ratio - left) / scale, height - (offsetY * ratio - top) / scale];
  };

  // Whether the middle of a voxel is inside the outline (even-odd rule).
  const inside = (h, v) => {
    let found = false;
    points.forEach(([x, y], number) => {
      const [a, b] = points[(number + points.length - 1) % points.length];
      if (y > v !== b > v && h < ((a - x) * (v - y)) / (b - y) + x) found = !found;
    });
    return found;
  };
  const score = (member) => {
    let both = 0, own = 0, expert = 0;
    for (let v = 0; v < slice.height; v++) for (let h = 0; h < slice.width; h++) {
      const [a, b] = [member(h, v), Explorer.volume.masks[0][slice.index(h, v)] > 0];
      both += a && b;
      own += a;
      expert += b;
    }
    return { dice: (2 * both) / (own + expert || 1), error: own - expert };
  };
  const words = ({ dice, error }) => `Dice ${dice.toFixed(3)}, ${error ? `${Math.abs(error)} mm³ too ${error > 0 ? "much" : "little"}` : "no error in volume"}`;

  const start = () => {
    points = [];
    done = false;
    text.textContent = "";
    paint();
  };
  document.getElementById("v-draw").addEventListener("click", () => {
    if (!Explorer.volume) return;
    slice = Slices.cut(Explorer.volume.shape, AXIS, Explorer.cross[AXIS]);
    cursor = [Math.round(slice.width / 2), Math.round(slice.height / 2)];
    dialog.showModal();
    canvas.style.aspectRatio = `${slice.width} / ${slice.height}`;
    start();
  });
  document.getElementById("draw-clear").addEventListener("click", start);
  document.getElementById("draw-close").addEventListener("click", () => dialog.close());
  document.getElementById("draw-done").addEventListener("click", () => {
    if (points.length < 3) return void (text.textContent = "Draw an outline first.");
    done = true;
    const mine = score((h, v) => inside(h + 0.5, v + 0.5)), theirs = score((h, v) => network()[slice.index(h, v)] > 0);
    text.textContent = `On this slice, you: ${words(mine)}. The network (coloured outline): ${words(theirs)}. The expert is filled.`;
    paint();
  });
  canvas.addEventListener("pointerdown", (event) => {
    if (done) start();
    drawing = true;
    canvas.setPointerCapture(event.pointerId);
    points = [under(event)];
    paint();
  });
  canvas.addEventListener("pointermove", (event) => { if (drawing) { points.push(under(event)); paint(); } });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { drawing = false; });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (step) cursor = [Math.min(Math.max(cursor[0] + step[0], 0), slice.width), Math.min(Math.max(cursor[1] + step[1], 0), slice.height)];
    else if (event.key === " ") { if (done) start(); points.push([...cursor]); }
    else return;
    event.preventDefault();
    paint();
  });
  for (const event of ["focus", "blur"]) canvas.addEventListener(event, () => { if (slice) paint(); });
}
