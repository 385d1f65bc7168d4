// The explorer's cases: unpacked one at a time, when they are looked at.
const Volumes = {
  // What the page carries about models, planes and cases; null where there is none.
  index: (() => {
    const element = document.getElementById("volumes");
    return element ? JSON.parse(element.textContent) : null;
  })(),
  kept: new Map(),

  // A case's {shape, grey, masks}: bytes in C order (X, Y, Z); masks[0] is the truth, masks[1 + m] that of model m.
  async load(number) {
    if (!this.kept.has(number)) this.kept.set(number, await this.unpack(this.index.cases[number]));
    return this.kept.get(number);
  },

  async unpack({ shape, data }) {
    const packed = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    const size = shape[0] * shape[1] * shape[2];
    const grey = bytes.subarray(0, size);
    // Greys are stored as steps from the voxel before.
    for (let i = 1; i < size; i++) grey[i] = (grey[i] + grey[i - 1]) % this.index.levels;
    const masks = [];
    for (let from = size; from < bytes.length; from += size) masks.push(bytes.subarray(from, from + size));
    return { shape, grey, masks };
  },
};
