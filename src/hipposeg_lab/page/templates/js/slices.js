// One slice on a canvas: image, expert filled, model outlined, errors by kind. The low end is at the left and below.
const COLOUR = Object.fromEntries(["anterior", "posterior", "missed", "extra", "swap"].map((name) =>
  [name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()]));
const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

const Slices = {
  // Where the plane across `axis` at `at` finds its voxel (h, v) in a volume of this shape.
  cut(shape, axis, at) {
    const [across, up] = Volumes.index.planes[axis].axes;
    const stride = [shape[1] * shape[2], shape[2], 1];
    const index = (h, v) => at * stride[axis] + h * stride[across] + v * stride[up];
    return { width: shape[across], height: shape[up], across, up, index };
  },

  // show: {truth, mask, wrong, opacity}: what is drawn. mask: the volume's mask of the model. cross: where planes meet.
  draw(canvas, volume, { axis, cross, mask, show }) {
    const { width, height, across, up, index } = this.cut(volume.shape, axis, cross[axis]);
    const place = this.fit(canvas, width, height);
    Object.assign(place, { across, up });
    const paper = canvas.getContext("2d");
    this.grey(paper, volume, width, height, index, place);
    const tints = Volumes.index.labels.map(({ colour }) => rgb(colour));
    const truth = volume.masks[0];
    // Voxel by voxel: what is drawn is exactly what is scored.
    if (show.truth) this.paint(paper, width, height, place, show.opacity, (h, v) => tints[truth[index(h, v)] - 1]);
    if (show.wrong) this.paint(paper, width, height, place, 0.8, (h, v) => {
      const [a, b] = [truth[index(h, v)], mask[index(h, v)]];
      return a === b ? null : rgb(!b ? COLOUR.missed : !a ? COLOUR.extra : COLOUR.swap);
    });
    if (show.mask) this.outlines(paper, mask, width, height, index, place);
    this.crosshair(paper, cross, place);
    this.directions(paper, place);
  },

  // The canvas at the screen's resolution, and where a slice of this size is in it.
  fit(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const scale = Math.min(canvas.width / width, canvas.height / height);
    const left = (canvas.width - scale * width) / 2, top = (canvas.height - scale * height) / 2;
    return (canvas.place = { left, top, scale, ratio, width, height });
  },

  // Tissue is interpolated: its voxels are samples of something smooth.
  grey(paper, volume, width, height, index, { left, top, scale }) {
    const small = new OffscreenCanvas(width, height), image = new ImageData(width, height);
    for (let v = 0, to = 0; v < height; v++) for (let h = 0; h < width; h++, to += 4) {
      image.data.fill(volume.grey[index(h, height - 1 - v)], to, to + 3);
      image.data[to + 3] = 255;
    }
    small.getContext("2d").putImageData(image, 0, 0);
    paper.imageSmoothingEnabled = true;
    paper.imageSmoothingQuality = "high";
    paper.drawImage(small, left, top, scale * width, scale * height);
  },

  // colour(h, v): [r, g, b], or nothing to leave the voxel as it is.
  paint(paper, width, height, { left, top, scale }, opacity, colour) {
    const small = new OffscreenCanvas(width, height), image = new ImageData(width, height);
    for (let v = 0, to = 0; v < height; v++) for (let h = 0; h < width; h++, to += 4) {
      const found = colour(h, height - 1 - v);
      if (found) image.data.set([...found, 255 * opacity], to);
    }
    small.getContext("2d").putImageData(image, 0, 0);
    paper.imageSmoothingEnabled = false;
    paper.drawImage(small, left, top, scale * width, scale * height);
  },

  // Along voxel edges: what is drawn is exactly what is scored.
  outlines(paper, mask, width, height, index, { left, top, scale, ratio }) {
    const inside = (h, v, k) => h >= 0 && v >= 0 && h < width && v < height && mask[index(h, v)] === k;
    Volumes.index.labels.forEach(({ colour }, label) => {
      paper.beginPath();
      for (let v = 0; v < height; v++) {
        for (let h = 0; h < width; h++) {
          if (!inside(h, v, label + 1)) continue;
          const x = left + h * scale, y = top + (height - 1 - v) * scale;
          const edge = (dh, dv, x0, y0, x1, y1) => {
            if (inside(h + dh, v + dv, label + 1)) return;
            paper.moveTo(x + x0 * scale, y + y0 * scale);
            paper.lineTo(x + x1 * scale, y + y1 * scale);
          };
          edge(-1, 0, 0, 0, 0, 1); edge(1, 0, 1, 0, 1, 1); edge(0, 1, 0, 0, 1, 0); edge(0, -1, 0, 1, 1, 1);
        }
      }
      paper.lineWidth = 2 * ratio;
      paper.lineCap = "square";
      paper.strokeStyle = colour;
      paper.stroke();
    });
  },

  // Dotted lines where the other two planes cut.
  crosshair(paper, cross, { left, top, scale, ratio, width, height, across, up }) {
    paper.strokeStyle = "rgb(255 255 255 / .45)";
    paper.lineWidth = ratio;
    paper.setLineDash([ratio, 3 * ratio]);
    const x = left + (cross[across] + 0.5) * scale, y = top + (height - cross[up] - 0.5) * scale;
    paper.beginPath();
    paper.moveTo(x, top); paper.lineTo(x, top + height * scale);
    paper.moveTo(left, y); paper.lineTo(left + width * scale, y);
    paper.stroke();
    paper.setLineDash([]);
  },

  // The names of the four directions, inside the slice's borders.
  directions(paper, { left, top, scale, ratio, width, height, across, up }) {
    paper.font = `700 ${13 * ratio}px system-ui, sans-serif`;
    paper.textBaseline = "middle";
    paper.lineWidth = 3 * ratio;
    paper.strokeStyle = "rgb(0 0 0 / .7)";
    paper.fillStyle = "#fff";
    const [low, high] = [Volumes.index.ends[across], Volumes.index.ends[up]], inset = 5 * ratio, line = 11 * ratio;
    const right = left + width * scale, bottom = top + height * scale, [x, y] = [(left + right) / 2, (top + bottom) / 2];
    for (const [text, align, tx, ty] of [[low[0], "left", left + inset, y], [low[1], "right", right - inset, y],
      [high[1], "center", x, top + line], [high[0], "center", x, bottom - line]]) {
      paper.textAlign = align;
      paper.strokeText(text, tx, ty);
      paper.fillText(text, tx, ty);
    }
  },

  // The voxel (across, up) under a pointer, clamped to the slice.
  under({ place }, { offsetX, offsetY }) {
    const h = Math.floor((offsetX * place.ratio - place.left) / place.scale);
    const v = place.height - 1 - Math.floor((offsetY * place.ratio - place.top) / place.scale);
    const clamp = (value, size) => Math.min(Math.max(value, 0), size - 1);
    return { [place.across]: clamp(h, place.width), [place.up]: clamp(v, place.height) };
  },
};
