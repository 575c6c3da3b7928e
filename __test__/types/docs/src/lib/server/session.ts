export { type User, requireMember } from '~/session.server';
