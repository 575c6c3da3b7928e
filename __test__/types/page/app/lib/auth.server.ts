interface Session {
  id: string;
  email: string;
}

export async function requireUser(request: Request): Promise<Session> {
  const email = request.headers.get('x-user');
  if (!email) throw new Response('Who are you?', { status: 401 });
  return { id: `user-${email}`, email };
}
