export interface User {
  id: string;
  name: string;
}

export async function requireMember(_request: Request, groupId: string): Promise<User> {
  return { id: `member of ${groupId}`, name: 'Ann' };
}
