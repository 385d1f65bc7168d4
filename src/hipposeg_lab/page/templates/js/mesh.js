// A smooth surface of each label, made from its mask in the browser: nothing but the masks has to be in the page.
//
// Truth and prediction go through the same steps: a Gaussian (SD in voxels as in hipposeg.viz.surface), for each label
// how far it leads over all other classes, and naive surface nets (Gibson 1998) at the zero of that lead.
const Mesh = {
  SD: 0.7,
  PAD: 6, // twice the reach of the Gaussian, so that no voxel needs a neighbour outside

  // Smoothed membership of each class, background first, in a box padded by PAD.
  fields(mask, shape) {
    const size = shape.map((n) => n + 2 * this.PAD);
    return [0, ...Volumes.index.labels.map((_, at) => at + 1)].map((value) => this.blur(this.member(mask, shape, size, value), size));
  },

  // {vertices, normals: Float32Array (n x 3), triangles: Uint32Array} of each label, in voxels about the box's centre.
  surfaces(mask, shape, smooth = this.fields(mask, shape)) {
    const size = shape.map((n) => n + 2 * this.PAD);
    return smooth.slice(1).map((own, label) => {
      const others = smooth.filter((_, at) => at !== label + 1), lead = new Float32Array(own.length);
      for (let i = 0; i < lead.length; i++) {
        let most = others[0][i];
        for (let j = 1; j < others.length; j++) if (others[j][i] > most) most = others[j][i];
        lead[i] = own[i] - most;
      }
      return this.net(lead, size);
    });
  },

  // Surfaces of expert and model, null for one that is not shown; wrong: with `beyond` on the model's.
  pair({ masks, shown, wrong, shape }) {
    const fields = masks.map((mask, side) => (shown[side] || wrong ? this.fields(mask, shape) : null));
    const made = masks.map((mask, side) => (shown[side] ? this.surfaces(mask, shape, fields[side]) : null));
    if (wrong && made[1]) for (const mesh of made[1]) mesh.beyond = this.beyond(mesh, fields[0][0], shape);
    return made;
  },

  // The same in a worker, if the browser allows one, so that the page stays responsive. Resolves in the order of calls.
  apart(wanted) {
    if (this.worker === undefined) {
      const parts = Object.entries(this).map(([name, part]) => (typeof part === "function" ? part : `${name}: ${part}`));
      const source = `const Volumes = { index: { labels: ${JSON.stringify(Volumes.index.labels)} } };
        const Mesh = { ${parts.join(",")} }; onmessage = ({ data }) => postMessage(Mesh.pair(data));`;
      try { this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" }))); } catch { this.worker = null; }
    }
    if (!this.worker) return Promise.resolve(this.pair(wanted));
    return new Promise((resolve) => {
      this.worker.addEventListener("message", ({ data }) => resolve(data), { once: true });
      this.worker.postMessage(wanted);
    });
  },

  // At each vertex, whether `background` (a field of the other mask) puts it well inside (-1) or outside (1) of that.
  beyond({ vertices }, background, shape) {
    const size = shape.map((n) => n + 2 * this.PAD), found = new Int8Array(vertices.length / 3);
    for (let i = 0; i < found.length; i++) {
      const [x, y, z] = size.map((n, axis) => Math.round(vertices[3 * i + axis] + (n - 1) / 2));
      const share = background[(x * size[1] + y) * size[2] + z];
      found[i] = share > 0.9 ? 1 : share < 0.1 ? -1 : 0;
    }
    return found;
  },

  member(mask, shape, size, value) {
    const found = new Float32Array(size[0] * size[1] * size[2]).fill(value === 0 ? 1 : 0);
    let from = 0;
    for (let x = 0; x < shape[0]; x++) {
      for (let y = 0; y < shape[1]; y++) {
        let to = ((x + this.PAD) * size[1] + y + this.PAD) * size[2] + this.PAD;
        for (let z = 0; z < shape[2]; z++) found[to++] = mask[from++] === value ? 1 : 0;
      }
    }
    return found;
  },

  blur(field, size) {
    const weights = [0, 1, 2, 3].map((d) => Math.exp((-0.5 * d * d) / this.SD ** 2));
    const total = weights[0] + 2 * (weights[1] + weights[2] + weights[3]);
    const [w0, w1, w2, w3] = weights.map((weight) => weight / total);
    for (const stride of [size[1] * size[2], size[2], 1]) {
      const next = field.slice(), reach = 3 * stride;
      for (let i = reach; i < field.length - reach; i++) {
        next[i] = w0 * field[i] + w1 * (field[i - stride] + field[i + stride])
          + w2 * (field[i - 2 * stride] + field[i + 2 * stride]) + w3 * (field[i - reach] + field[i + reach]);
      }
      field = next;
    }
    return field;
  },

  // One vertex in each cell that the surface crosses, at the mean of its crossings; one quad for each crossed edge.
  net(field, size) {
    const strides = [size[1] * size[2], size[2], 1];
    const cell = new Int32Array(field.length).fill(-1);
    const points = [], triangles = [];
    const at = [0, 0, 0];
    for (at[0] = 0; at[0] < size[0] - 1; at[0]++) for (at[1] = 0; at[1] < size[1] - 1; at[1]++) for (at[2] = 0; at[2] < size[2] - 1; at[2]++) {
      const i = at[0] * strides[0] + at[1] * strides[1] + at[2];
      const side = field[i] > 0, [su, sv] = [strides[0], strides[1]];
      if (side === field[i + 1] > 0 && side === field[i + sv] > 0 && side === field[i + sv + 1] > 0 && side === field[i + su] > 0
        && side === field[i + su + 1] > 0 && side === field[i + su + sv] > 0 && side === field[i + su + sv + 1] > 0) continue;
      const sum = [0, 0, 0];
      let crossings = 0;
      for (let axis = 0; axis < 3; axis++) {
        const [u, v] = [(axis + 1) % 3, (axis + 2) % 3];
        for (let corner = 0; corner < 4; corner++) {
          const [du, dv] = [corner & 1, corner >> 1];
          const from = i + du * strides[u] + dv * strides[v];
          const [a, b] = [field[from], field[from + strides[axis]]];
          if (a > 0 === b > 0) continue;
          crossings++;
          sum[axis] += at[axis] + a / (a - b);
          sum[u] += at[u] + du;
          sum[v] += at[v] + dv;
        }
      }
      if (!crossings) continue;
      cell[i] = points.length / 3;
      for (let axis = 0; axis < 3; axis++) points.push(sum[axis] / crossings - (size[axis] - 1) / 2);
      for (let axis = 0; axis < 3; axis++) {
        const [u, v] = [(axis + 1) % 3, (axis + 2) % 3];
        const [a, b] = [field[i] > 0, field[i + strides[axis]] > 0];
        if (a === b || !at[u] || !at[v]) continue;
        const quad = [i, i - strides[u], i - strides[u] - strides[v], i - strides[v]].map((one) => cell[one]);
        if (!a) quad.reverse();
        triangles.push(quad[0], quad[1], quad[2], quad[0], quad[2], quad[3]);
      }
    }
    const vertices = new Float32Array(points);
    return { vertices, normals: this.normals(vertices, triangles), triangles: new Uint32Array(triangles) };
  },

  normals(p, triangles) {
    const found = new Float32Array(p.length);
    for (let t = 0; t < triangles.length; t += 3) {
      const [a, b, c] = [3 * triangles[t], 3 * triangles[t + 1], 3 * triangles[t + 2]];
      const [ux, uy, uz] = [p[b] - p[a], p[b + 1] - p[a + 1], p[b + 2] - p[a + 2]];
      const [vx, vy, vz] = [p[c] - p[a], p[c + 1] - p[a + 1], p[c + 2] - p[a + 2]];
      const normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) found[corner + k] += normal[k];
    }
    return found;
  },
};
