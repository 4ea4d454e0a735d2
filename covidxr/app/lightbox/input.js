// User input: buttons, mouse, touch and keys.

const viewers = new WeakMap();
const LARGEST = 32; // screen pixels per image pixel

export default function ({ parentElement, data }) {
  const message = unpack(data);
  if (!message.header.panes) {
    parentElement.querySelector(".lightbox")?.remove();
    receive(message);
    return;
  }
  let viewer = viewers.get(parentElement);
  if (!viewer) viewers.set(parentElement, (viewer = new Viewer(parentElement.querySelector(".lightbox"))));
  viewer.show(message).catch((error) => viewer.fail(error));
  return () => {
    viewers.delete(parentElement);
    viewer.close();
  };
}

class Viewer extends Screen {
  constructor(root) {
    super(root);
    this.fingers = new Map();
    this.listen();
  }

  zoom(zoom, canvas = this.panes[0].canvas, px = canvas.width / 2, py = canvas.height / 2) {
    const { view } = this;
    const [right, down] = [px - canvas.width / 2, py - canvas.height / 2]; // from the center to the fixed point
    const [x, y] = [view.x + right / view.zoom, view.y + down / view.zoom];
    const fit = Math.min(canvas.width / this.image.width, canvas.height / this.image.height);
    view.zoom = Math.min(LARGEST, Math.max(Math.min(fit, 1) / 2, zoom));
    view.fit = false;
    this.centerOn(x - right / view.zoom, y - down / view.zoom);
  }

  // To the next half power of two, which include 100% and 200%.
  step(by) {
    const steps = 2 * Math.log2(this.view.zoom);
    this.zoom(2 ** ((by > 0 ? Math.floor(steps + 1e-6) + 1 : Math.ceil(steps - 1e-6) - 1) / 2));
  }

  centerOn(x, y) {
    Object.assign(this.view, { fit: false, x: Math.min(this.image.width, Math.max(0, x)), y: Math.min(this.image.height, Math.max(0, y)) });
    this.draw();
  }

  move(dx, dy) {
    this.centerOn(this.view.x - dx / this.view.zoom, this.view.y - dy / this.view.zoom);
  }

  window(low, high) {
    const [middle, half] = [(low + high) / 2, Math.max(high - low, Math.abs(this.image.slope) || 1) / 2];
    if (!Number.isFinite(middle + half)) return; // an empty field
    Object.assign(this.view, { low: middle - half, high: middle + half });
    this.stale = true;
    this.draw();
  }

  typed() {
    const [level, width] = [".level", ".width"].map((name) => this.find(name).valueAsNumber);
    const [middle, half] = [level - this.one / 2, (width - this.one) / 2];
    this.window(middle - half, middle + half);
  }

  // By fractions of the range of gray values.
  shift(level, width) {
    const [low, high] = this.ends;
    const span = this.image.span[1] - this.image.span[0];
    this.window(low + (level - width / 2) * span, high + (level + width / 2) * span);
  }

  do(what) {
    const { view } = this;
    const opacity = (by) => {
      Object.assign(remembered, { hidden: false, opacity: Math.min(100, Math.max(0, remembered.opacity + by)) });
    };
    const next = () => {
      const names = this.header.overlays.map(([name]) => name);
      remembered.overlay = names[(names.indexOf(remembered.overlay) + 1) % names.length];
    };
    const actions = {
      in: () => this.step(1),
      out: () => this.step(-1),
      fit: () => (view.fit = true),
      exact: () => this.zoom(1),
      invert: () => Object.assign(view, { inverted: !view.inverted }),
      reset: () => Object.assign(view, this.first()),
      full: () => this.window(...this.image.span),
      narrower: () => this.shift(0, -0.02),
      wider: () => this.shift(0, 0.02),
      lower: () => this.shift(-0.02, 0),
      higher: () => this.shift(0.02, 0),
      fainter: () => opacity(-5),
      stronger: () => opacity(5),
      hide: () => (remembered.hidden = !remembered.hidden),
      overlay: next,
      lungs: () => (remembered.lungs = !remembered.lungs),
      side: () => (remembered.layout = "side"),
      swipe: () => (remembered.layout = "swipe"),
      layout: () => (remembered.layout = this.layout === "side" ? "swipe" : "side"),
      dividerLeft: () => this.swipe(this.divider - 0.02),
      dividerRight: () => this.swipe(this.divider + 0.02),
      fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen()),
    };
    actions[what]();
    this.stale ||= what === "invert" || what === "reset";
    this.arrange();
  }

  // --- events ---

  listen() {
    const { root, stage } = this;
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button) this.do(button.dataset.do);
    });
    const set = (selector, change) => this.find(selector).addEventListener("input", (event) => (change(event.target), this.draw()));
    set(".opacity", ({ value }) => Object.assign(remembered, { opacity: Number(value), hidden: false }));
    set(".overlay", ({ value }) => (remembered.overlay = value));
    set(".lungs input", ({ checked }) => (remembered.lungs = checked));
    for (const field of [this.find(".level"), this.find(".width")])
      field.addEventListener("change", () => this.typed());
    root.addEventListener("keydown", (event) => this.key(event));
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, ({ pointerId }) => this.fingers.delete(pointerId));
    stage.addEventListener("contextmenu", (event) => event.target.closest(".frame") && event.preventDefault());
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("dblclick", (event) => {
      if (event.target.tagName !== "CANVAS") return;
      if (this.view.fit) this.zoom(1, event.target, ...this.point(event, event.target));
      else this.do("fit");
    });
  }

  // Position in a canvas, in its own pixels.
  point({ clientX, clientY }, canvas) {
    const box = canvas.getBoundingClientRect();
    return [((clientX - box.left) * canvas.width) / box.width, ((clientY - box.top) * canvas.height) / box.height];
  }

  down(event) {
    if (event.target.tagName !== "CANVAS") return;
    this.stage.focus({ preventScroll: true });
    event.target.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.touch(event));
  }

  drag(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const canvas = before.target;
    const [x, y] = this.point(event, canvas);
    const [oldX, oldY] = this.point(before, canvas);
    const other = [...this.fingers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    this.fingers.set(event.pointerId, { ...this.touch(event), target: canvas });
    if (other) {
      const [fixedX, fixedY] = this.point(other, canvas);
      const apart = (px, py) => Math.hypot(px - fixedX, py - fixedY);
      this.zoom((this.view.zoom * apart(x, y)) / Math.max(1, apart(oldX, oldY)), canvas, fixedX, fixedY);
    } else if (event.shiftKey || event.buttons & 2) {
      this.shift((event.clientY - before.clientY) / 400, (event.clientX - before.clientX) / 400);
    } else this.move(x - oldX, y - oldY);
  }

  touch({ pointerId, clientX, clientY, target }) {
    return { pointerId, clientX, clientY, target };
  }

  // The wheel scrolls the page until the user has clicked the image.
  wheel(event) {
    const canvas = event.target;
    const active = this.stage.getRootNode().activeElement === this.stage;
    if (canvas.tagName !== "CANVAS" || !(active || event.ctrlKey)) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoom(this.view.zoom * Math.exp((-event.deltaY * lines) / (event.ctrlKey ? 100 : 500)), canvas, ...this.point(event, canvas));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.length === 1) event.stopPropagation(); // Streamlit has shortcuts of its own
    if (event.target.matches("input:not([type=checkbox]), select") || !this.header) return;
    const arrows = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    const keys = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "exact", w: "narrower", W: "wider", c: "lower", C: "higher" };
    Object.assign(keys, { a: "full", i: "invert", r: "reset", o: "hide", "[": "fainter", "]": "stronger", d: "overlay", l: "lungs" });
    Object.assign(keys, { s: "layout", ",": "dividerLeft", ".": "dividerRight", f: "fullscreen" });
    if (event.key in keys) this.do(keys[event.key]);
    else if (event.key in arrows && event.target === this.stage) this.move(...arrows[event.key]);
    else return;
    event.preventDefault();
  }
}
