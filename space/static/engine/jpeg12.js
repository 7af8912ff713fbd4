export const decodeDeepJpeg = () => { throw new Error("not yet"); };
