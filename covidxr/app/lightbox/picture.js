// The viewer, first: what is sent. A message is four bytes with the length of a JSON header, the header, and the parts it places.
// This file, screen.js and hands.js are one module: Streamlit takes a single script.

const pictures = new Map(); // by id; a picture is sent by itself, before or after what is shown of it
const KEPT = 4;

function unpack(data) {
  const start = 4 + new DataView(data.buffer, data.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(data.subarray(4, start)));
  const part = (name) => data.subarray(start + header.parts[name][0], start + header.parts[name][0] + header.parts[name][1]);
  return { header, part };
}

// Pixels travel deflated, each as its difference to its left neighbour: exact, and as small as a PNG.
async function inflate(part, { width, depth }) {
  const stream = new Blob([part]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const values = depth === 2 ? new Uint16Array(buffer) : new Uint8Array(buffer);
  for (let i = 0; i < values.length; i++) if (i % width) values[i] += values[i - 1];
  return values;
}

function picture(id) {
  if (!pictures.has(id)) {
    let arrive;
    const arrived = new Promise((done) => (arrive = done));
    pictures.set(id, { arrived, arrive });
  }
  return pictures.get(id);
}

function receive({ header, part }) {
  const greys = part("greys").slice();
  picture(header.id).arrive(inflate(part("values"), header).then((values) => ({ ...header, greys, values })));
  for (const id of [...pictures.keys()].slice(0, -KEPT)) pictures.delete(id);
}
