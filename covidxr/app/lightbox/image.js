// Messages from the server: four bytes with the length of a JSON header, the header, and its parts.
// This file, screen.js and input.js are joined to one module, since Streamlit takes one script.

// By id; an image is sent separately, before or after its panes.
const images = new Map();
const KEPT = 4;

function unpack(data) {
  const start = 4 + new DataView(data.buffer, data.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(data.subarray(4, start)));
  const part = (name) => data.subarray(start + header.parts[name][0], start + header.parts[name][0] + header.parts[name][1]);
  return { header, part };
}

// Pixels are sent deflated, as differences to their left neighbors.
async function inflate(part, { width, depth }) {
  const stream = new Blob([part]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const values = depth === 2 ? new Uint16Array(buffer) : new Uint8Array(buffer);
  for (let i = 0; i < values.length; i++) if (i % width) values[i] += values[i - 1];
  return values;
}

function imageOf(id) {
  if (!images.has(id)) {
    let arrive;
    const arrived = new Promise((resolve) => (arrive = resolve));
    images.set(id, { arrived, arrive });
  }
  return images.get(id);
}

function receive({ header, part }) {
  const grays = part("grays").slice();
  imageOf(header.id).arrive(inflate(part("values"), header).then((values) => ({ ...header, grays, values })));
  for (const id of [...images.keys()].slice(0, -KEPT)) images.delete(id);
}
