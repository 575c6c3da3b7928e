export interface User {
  id: string;
  name: string;
}

export async function requireMember(_request: Request, groupId: string): Promise<User> {
  return { id: `member of ${groupId}`, name: 'Ann' };
}

export async function requireUser(_request: Request): Promise<User> {
  return { id: '1', name: 'Ann' };
}
