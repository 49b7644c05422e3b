// Arrays out of text: base64 of gzip of their bytes, the first bytes of all numbers first; see blocks.py.

async function gunzip(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let n = 0; n < bytes.length; n++) bytes[n] = letters.charCodeAt(n);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpack(block) {
  const Kind = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array }[block.type];
  const bytes = await gunzip(block.data);
  const width = Kind.BYTES_PER_ELEMENT, count = bytes.length / width;
  let array = bytes;
  if (width > 1) {
    array = new Kind(count);
    for (let byte = 0; byte < width; byte++)
      for (let n = 0; n < count; n++) array[n] += bytes[byte * count + n] * 256 ** byte;
  }
  // The typed array wraps around as the differences did.
  if (block.differences) for (let n = 1; n < count; n++) array[n] += array[n - 1];
  return array;
}

async function unpackMesh(mesh) {
  const steps = await unpack(mesh.vertices), count = steps.length / 3;
  const vertices = new Float32Array(steps.length);
  for (let axis = 0; axis < 3; axis++)
    for (let n = 0; n < count; n++) vertices[3 * n + axis] = mesh.low[axis] + mesh.step * steps[axis * count + n];
  return { vertices, faces: await unpack(mesh.faces), colours: mesh.colours ? await unpack(mesh.colours) : null };
}
