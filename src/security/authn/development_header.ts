/** Header in which a caller of the development authenticator names its SPIFFE ID. */
export const developmentIdentityHeader = 'x-trysail-development-identity';
