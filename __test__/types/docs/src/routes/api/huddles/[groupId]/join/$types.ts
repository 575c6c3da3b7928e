// As SvelteKit generates it, as far as the documents need it.
export type RequestHandler = (event: {
  request: Request;
  params: { groupId: string };
}) => Response | Promise<Response>;
