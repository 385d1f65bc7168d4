// Surfaces that turn, in plain WebGL: expert and model side by side, always seen from the same direction.
//
// A ready-made library would bring hundreds of kilobytes for two lit meshes; this is all that they need.
const Surface = {
  VERTEX: `attribute vec3 place, normal; uniform mat3 turn; uniform vec2 scale; varying vec3 facing;
    void main() { facing = turn * normal; vec3 seen = turn * place;
      gl_Position = vec4(seen.xy * scale, -seen.z * 0.01, 1.0); }`,
  FRAGMENT: `precision mediump float; varying vec3 facing; uniform vec3 colour;
    void main() { vec3 n = normalize(facing);
      float lit = 0.28 + 0.62 * max(dot(n, normalize(vec3(0.4, 0.6, 0.8))), 0.0) + 0.16 * max(-n.x, 0.0);
      float gleam = 0.18 * pow(max(dot(n, normalize(vec3(0.25, 0.4, 1.0))), 0.0), 18.0);
      gl_FragColor = vec4(colour * lit + gleam, 1.0); }`,
  angles: [-1.3, 0.35],
  zoom: 1,
  sides: [],

  // Returns whether this browser can draw here.
  start(canvas) {
    this.canvas = canvas;
    const gl = (this.gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true }));
    if (!gl || !gl.getExtension("OES_element_index_uint")) return false;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, this.VERTEX], [gl.FRAGMENT_SHADER, this.FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.at = Object.fromEntries(["turn", "scale", "colour"].map((name) => [name, gl.getUniformLocation(program, name)]));
    ["place", "normal"].forEach((name, index) => {
      gl.enableVertexAttribArray((this.at[name] = gl.getAttribLocation(program, name)));
    });
    return true;
  },

  // sides: for each side of the picture the meshes of its labels, as `Mesh.surfaces` gives them, or null for none.
  show(sides) {
    const { gl } = this;
    for (const mesh of this.sides.flat()) for (const buffer of mesh.buffers) gl.deleteBuffer(buffer);
    // Whatever way they are turned, both fit: the size follows the vertex that is farthest from the middle.
    this.reach = 2 * Math.max(1, ...sides.filter(Boolean).flat().map(({ vertices }) => this.radius(vertices)));
    this.sides = sides.filter(Boolean).map((meshes) => meshes.map((mesh, label) => {
      const fill = (target, data) => {
        const buffer = gl.createBuffer();
        gl.bindBuffer(target, buffer);
        gl.bufferData(target, data, gl.STATIC_DRAW);
        return buffer;
      };
      const buffers = [fill(gl.ARRAY_BUFFER, mesh.vertices), fill(gl.ARRAY_BUFFER, mesh.normals), fill(gl.ELEMENT_ARRAY_BUFFER, mesh.triangles)];
      return { buffers, count: mesh.triangles.length, colour: rgb(Volumes.index.labels[label].colour).map((c) => c / 255) };
    }));
    this.draw();
  },

  radius(vertices) {
    let most = 0;
    for (let i = 0; i < vertices.length; i += 3) most = Math.max(most, Math.hypot(vertices[i], vertices[i + 1], vertices[i + 2]));
    return most;
  },

  // Columns of the rotation: about the vertical axis (voxel axis 2), then tilted towards the reader.
  rotation() {
    const [[sa, ca], [sb, cb]] = this.angles.map((angle) => [Math.sin(angle), Math.cos(angle)]);
    return [ca, sa * sb, -sa * cb, -sa, ca * sb, -ca * cb, 0, cb, sb];
  },

  draw() {
    const { gl, canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const width = canvas.width / Math.max(1, this.sides.length);
    const scale = (0.95 * this.zoom * Math.min(width, 1.5 * canvas.height)) / this.reach;
    gl.uniformMatrix3fv(this.at.turn, false, this.rotation());
    gl.uniform2f(this.at.scale, (2 * scale) / width, (2 * scale) / canvas.height);
    this.sides.forEach((meshes, side) => {
      gl.viewport(side * width, 0, width, canvas.height);
      for (const { buffers, count, colour } of meshes) {
        ["place", "normal"].forEach((name, index) => {
          gl.bindBuffer(gl.ARRAY_BUFFER, buffers[index]);
          gl.vertexAttribPointer(this.at[name], 3, gl.FLOAT, false, 0, 0);
        });
        gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers[2]);
        gl.uniform3fv(this.at.colour, colour);
        gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
      }
    });
  },

  turn(across, down) {
    this.angles = [this.angles[0] + across, Math.min(Math.max(this.angles[1] + down, -1.57), 1.57)];
    this.draw();
  },

  // Pointer, touch, keys and buttons.
  listen(buttons) {
    const { canvas } = this;
    const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      this.turn((event.clientX - held[0]) / 90, (event.clientY - held[1]) / 90);
      held = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
    canvas.addEventListener("keydown", (event) => {
      const size = { "+": 1.1, "=": 1.1, "-": 1 / 1.1 }[event.key];
      if (keys[event.key]) this.turn(...keys[event.key].map((step) => step * 0.15));
      else if (size) { this.zoom = Math.min(Math.max(this.zoom * size, 0.5), 3); this.draw(); }
      else return;
      event.preventDefault();
    });
    for (const button of buttons) {
      const [across, down] = button.dataset.turn.split(",").map(Number);
      button.addEventListener("click", () => this.turn(0.3 * across, 0.3 * down));
    }
  },
};
