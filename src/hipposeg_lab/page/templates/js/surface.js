// Surfaces that turn, drawn by three.js: expert and model side by side, always seen from the same direction.
const Surface = {
  angles: [-1.3, 0.35],
  zoom: 1.2,
  sides: [],

  // The library, unpacked from the page when it is first wanted.
  async library() {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await gunzip(document.getElementById("three").textContent.trim()));
    document.head.append(script);
    return window.THREE;
  },

  // Resolves to whether this browser can draw here. gl: null where it cannot.
  async start(canvas) {
    this.canvas = canvas;
    // Kept after drawing, so that the picture can be saved and printed.
    const wanted = { antialias: true, alpha: true, preserveDrawingBuffer: true };
    this.gl = canvas.getContext("webgl2", wanted) || canvas.getContext("webgl", wanted);
    if (!this.gl) return false;
    const three = await this.library();
    this.renderer = new three.WebGLRenderer({ canvas, context: this.gl, ...wanted });
    this.renderer.setScissorTest(true);
    this.scene = new three.Scene();
    this.camera = new three.OrthographicCamera();
    for (const [power, ...from] of [[0.72, 0.4, 0.6, 0.8], [0.22, -1, 0, 0.2]]) {
      const light = new three.DirectionalLight("white", power);
      light.position.set(...from);
      this.scene.add(light);
    }
    this.scene.add(new three.AmbientLight("white", 0.34));
    return true;
  },

  // sides: for each side of the picture the meshes of its labels, as `Mesh.surfaces` gives them, or null for none;
  // a mesh may have `beyond`, which paints what is missed and what is too much.
  show(sides) {
    const three = window.THREE;
    for (const group of this.sides) {
      this.scene.remove(group);
      for (const { geometry, material } of group.children) { geometry.dispose(); material.dispose(); }
    }
    this.sides = sides.filter(Boolean).map((meshes) => {
      const group = new three.Group();
      meshes.forEach(({ vertices, normals, triangles, beyond }, label) => {
        const geometry = new three.BufferGeometry();
        geometry.setAttribute("position", new three.BufferAttribute(vertices, 3));
        geometry.setAttribute("normal", new three.BufferAttribute(normals, 3));
        geometry.setIndex(new three.BufferAttribute(triangles, 1));
        geometry.computeBoundingSphere();
        const { colour } = Volumes.index.labels[label], material = { color: colour, specular: "#2a2a2a", shininess: 18 };
        if (beyond) {
          const paints = [COLOUR.missed, colour, COLOUR.extra].map((one) => new three.Color(one).toArray());
          geometry.setAttribute("color", new three.Float32BufferAttribute(Array.from(beyond, (at) => paints[at + 1]).flat(), 3));
          Object.assign(material, { color: "white", vertexColors: true });
        }
        group.add(new three.Mesh(geometry, new three.MeshPhongMaterial(material)));
      });
      this.scene.add(group);
      return group;
    });
    // Whatever way they are turned, both fit: the size follows the vertex that is farthest from the middle.
    const meshes = this.sides.flatMap((group) => group.children);
    this.reach = Math.max(1, ...meshes.map(({ geometry: { boundingSphere: { center, radius } } }) => center.length() + radius));
    this.draw();
  },

  draw() {
    const { renderer, canvas, camera, sides } = this;
    renderer.setPixelRatio(window.devicePixelRatio || 1);
    renderer.setSize(canvas.clientWidth, canvas.clientHeight, false);
    const width = canvas.clientWidth / Math.max(1, sides.length), height = canvas.clientHeight;
    const voxels = (1.05 * this.reach) / this.zoom / Math.min(width, 1.5 * height);
    Object.assign(camera, { left: -voxels * width, right: voxels * width, top: voxels * height, bottom: -voxels * height, near: -4 * this.reach, far: 4 * this.reach });
    camera.updateProjectionMatrix();
    renderer.setScissor(0, 0, canvas.clientWidth, height);
    renderer.clear();
    sides.forEach((group, side) => {
      // Turned about the vertical axis (voxel axis 2), then tilted towards the reader.
      group.rotation.set(this.angles[1] - Math.PI / 2, 0, this.angles[0]);
      for (const other of sides) other.visible = other === group;
      renderer.setViewport(side * width, 0, width, height);
      renderer.setScissor(side * width, 0, width, height);
      renderer.render(this.scene, camera);
    });
  },

  turn(across, down) {
    this.angles = [this.angles[0] + across, Math.min(Math.max(this.angles[1] + down, -1.57), 1.57)];
    this.draw();
  },

  grow(times) {
    this.zoom = Math.min(Math.max(this.zoom * times, 0.5), 4);
    this.draw();
  },

  // Pointer, touch, wheel, keys and buttons.
  listen(buttons) {
    const { canvas } = this;
    const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const held = new Map(); // pointer -> where it was: one turns, two pinch
    const apart = () => { const [a, b] = [...held.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]) || 1; };
    canvas.addEventListener("pointerdown", (event) => {
      held.set(event.pointerId, [event.clientX, event.clientY]);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const from = held.get(event.pointerId);
      if (!from) return;
      const before = held.size === 2 && apart();
      held.set(event.pointerId, [event.clientX, event.clientY]);
      if (before) this.grow(apart() / before);
      else if (held.size === 1) this.turn((event.clientX - from[0]) / 90, (event.clientY - from[1]) / 90);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, ({ pointerId }) => held.delete(pointerId));
    // One finger may still scroll the page; two belong to the surface.
    canvas.addEventListener("touchstart", (event) => { if (event.touches.length > 1) event.preventDefault(); }, { passive: false });
    canvas.addEventListener("wheel", (event) => {
      if (!Entered.has(canvas)) return;
      event.preventDefault();
      this.grow(Math.exp(-Math.sign(event.deltaY) * 0.1));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const size = { "+": 1.1, "=": 1.1, "-": 1 / 1.1 }[event.key];
      if (keys[event.key]) this.turn(...keys[event.key].map((step) => step * 0.15));
      else if (size) this.grow(size);
      else return;
      event.preventDefault();
    });
    for (const button of buttons) {
      const [across, down, times] = button.dataset.turn.split(",").map(Number);
      button.addEventListener("click", () => (times ? this.grow(times) : this.turn(0.3 * across, 0.3 * down)));
    }
  },
};
