// A smooth surface of each label, made from its mask in the browser: nothing but the masks has to be in the page.
//
// Truth and prediction go through the same steps: a Gaussian (SD in voxels as in hipposeg.viz.surface), for each label
// how far it leads over all other classes, and naive surface nets (Gibson 1998) at the zero of that lead.
const Mesh = {
  SD: 0.7,
  PAD: 3,

  // {vertices, normals: Float32Array (n x 3), triangles: Uint32Array} of each label, in voxels about the box's centre.
  surfaces(mask, shape) {
    const size = shape.map((n) => n + 2 * this.PAD);
    const classes = [0, ...Volumes.index.labels.map((_, index) => index + 1)];
    const smooth = classes.map((value) => this.blur(this.member(mask, shape, size, value), size));
    return classes.slice(1).map((k) => {
      const lead = smooth[k].map((value, i) => value - Math.max(...classes.map((j) => (j === k ? -1 : smooth[j][i]))));
      return this.net(lead, size);
    });
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
    const kernel = [-3, -2, -1, 0, 1, 2, 3].map((d) => Math.exp((-0.5 * d * d) / this.SD ** 2));
    const total = kernel.reduce((a, b) => a + b);
    const strides = [size[1] * size[2], size[2], 1];
    for (let axis = 0; axis < 3; axis++) {
      const [stride, n, next] = [strides[axis], size[axis], new Float32Array(field.length)];
      for (let i = 0; i < field.length; i++) {
        const at = Math.floor(i / stride) % n;
        let sum = 0;
        for (let d = -3; d <= 3; d++) {
          const here = Math.min(Math.max(at + d, 0), n - 1);
          sum += kernel[d + 3] * field[i + (here - at) * stride];
        }
        next[i] = sum / total;
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
