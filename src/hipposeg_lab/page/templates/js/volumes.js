// Bytes of a base64 text, and of a gzip stream that travels as one.
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const gunzip = async (text) => {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

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

  async unpack({ shape, image, masks }) {
    const picture = await createImageBitmap(new Blob([bytes(image)], { type: "image/webp" }));
    const paper = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
    paper.drawImage(picture, 0, 0);
    const pixels = paper.getImageData(0, 0, picture.width, picture.height).data;
    const size = shape[0] * shape[1] * shape[2];
    return { shape, grey: Uint8Array.from({ length: size }, (_, at) => pixels[4 * at]), masks: await this.masks(masks, size) };
  },

  // Masks of `size` voxels each from a gzip stream.
  async masks(text, size) {
    const packed = await gunzip(text);
    return Array.from({ length: packed.length / size }, (_, at) => packed.subarray(at * size, (at + 1) * size));
  },
};
