export const decode = async () => { throw new Error("not yet"); };
